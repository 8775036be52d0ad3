"""How long each layer takes in floats and in 8 bits, from the runtimes' own profiles of whole networks.

A layer timed by itself says little: in the network it shares reading, rounding and activation with its
neighbours. So the float file and the int8 file of a target are both run with profiling on, by turns, and each
entry is credited to the layers it was made from. Of several runs the fastest of each entry counts, and their
sum is the time of the whole network: a machine that does other things too takes slices of milliseconds out of
whole calls, but not out of the same small operator every time. What a finished mixture gains is then timed
whole, by turns, without profiling.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from ...export.layer_runs import Entry
from ...export.mixed_precision import LayerTime, Times, estimated, in_file, plain_name
from ...export.target import Target, capability
from ...runtime.artifact import Artifact
from ...runtime.errors import TargetUnavailableError
from ...runtime.photo import Array
from ...runtime.sessions import Session, available_threads, open_session
from .latency import measure_side_by_side
from .machine import machine_info

if TYPE_CHECKING:
    from ...export.calibrate import CalibrationTable
    from ...export.lowered import LoweredModel

RUNS = 15
"""Profiled runs of each file."""
SAMPLES, SECONDS = 21, 20.0


class Stopwatch:
    """Times float and int8 files of one model on one target; a context manager, which removes its files."""

    def __init__(self, model: LoweredModel, target: Target, *, threads: int | None = None) -> None:
        """Build the float file.

        Raises:
            TargetUnavailableError: the target cannot be built or run here, or only by a stand-in.
        """
        here = capability(target)
        if not (here.can_build and here.can_run):
            raise TargetUnavailableError(
                f"target {target.name} cannot be timed here ({here.reason}), so its speed-up is not known"
            )
        self.model, self.target, self.threads = model, target, threads or available_threads()
        self._folder = tempfile.TemporaryDirectory(prefix="fdikp-edge-")
        try:
            self._plain = self._build("fp32", None)
            self._x = self._plain.golden()[0]
            self._runtime = self._describe()
        except BaseException:
            self._folder.cleanup()
            raise

    def __enter__(self) -> Stopwatch:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the files."""
        self._folder.cleanup()

    def times(self, table: CalibrationTable) -> Times:
        """Return the times of the network in floats and with the table's layers in 8 bits."""
        quantised = self._build("int8", table)
        machine = str(machine_info()["cpu"])
        profiled = [
            self.target.open_layer_runs(artifact, self._x, self.threads)
            for artifact in (self._plain, quantised)
        ]
        opened = [runs for runs in profiled if runs is not None]
        if len(opened) < len(profiled):
            whole = Times(self._runtime, machine, self.threads, "", *self._whole(quantised), {})
            return estimated(self.model, table, whole)
        names = in_file(self.model)
        for _ in range(RUNS + 1):
            for runs in opened:
                runs.run()
        plain, own = (_fastest(runs.entries()[1:]) for runs in opened)  # without the first run
        before, after = _by_layer(plain, names), _by_layer(own, names)
        layers = [layer.node for layer in table.section(self.model.lowered.key).quantised()]
        return Times(
            runtime=self._runtime,
            machine=machine,
            threads=self.threads,
            source=f"profiled, fastest of {RUNS} runs",
            float_ms=sum(plain.values()),
            int8_ms=sum(own.values()),
            layers={n: LayerTime(before[n], after[n]) for n in layers if n in before and n in after},
        )

    def speedup(self, table: CalibrationTable) -> float:
        """Return how many times faster than in floats the network with this table is, timed side by side."""
        float_ms, int8_ms = self._whole(self._build("int8", table))
        return float_ms / int8_ms

    def _build(self, precision: str, table: CalibrationTable | None) -> Artifact:
        from ...export.build import build_artifact

        folder = Path(self._folder.name) / precision
        return build_artifact(self.model, self.target, precision, folder, table=table, overwrite=True)

    def _describe(self) -> str:
        with open_session(self._plain, threads=self.threads) as session:
            if session.caveat:
                raise TargetUnavailableError(
                    f"target {self.target.name} runs here on the {session.caveat}; not timed"
                )
            what = session.describe()
        return f"{what['runtime']} {what['version']}"

    def _whole(self, quantised: Artifact) -> tuple[float, float]:
        """Milliseconds of the fastest call in floats and in 8 bits, by turns."""
        with (
            open_session(self._plain, threads=self.threads) as plain,
            open_session(quantised, threads=self.threads) as other,
        ):
            calls = {"float": _bound(plain, self._x), "int8": _bound(other, self._x)}
            took = measure_side_by_side(calls, min_samples=SAMPLES, max_seconds=SECONDS / 2)
        return took["float"].min, took["int8"].min


def _bound(session: Session, x: Mapping[str, Array]) -> Callable[[], object]:
    return lambda: session.timed(x)


def _fastest(runs: Iterable[list[Entry]]) -> dict[tuple[str, ...], float]:
    """Return the milliseconds of each entry in its fastest run."""
    best: dict[tuple[str, ...], float] = {}
    for entries in runs:
        spent: dict[tuple[str, ...], float] = {}
        for parts, ms in entries:
            spent[parts] = spent.get(parts, 0.0) + ms
        for parts, ms in spent.items():
            best[parts] = min(ms, best.get(parts, ms))
    return best


def _by_layer(spent: Mapping[tuple[str, ...], float], names: Mapping[str, str]) -> dict[str, float]:
    """Return node -> milliseconds; an operator made of several layers is shared equally."""
    times: dict[str, float] = {}
    for parts, ms in spent.items():
        nodes = list(dict.fromkeys(names[part] for part in map(plain_name, parts) if part in names))
        for node in nodes:
            times[node] = times.get(node, 0.0) + ms / len(nodes)
    return times
