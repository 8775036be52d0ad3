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

from ...export.calibrate import LayerTime, Times, estimated, in_file, plain_name
from ...export.targets import Target, capability
from ...runtime.artifact import Artifact
from ...runtime.errors import TargetUnavailableError
from ...runtime.photo import Array
from ...runtime.sessions import Session, available_threads, open_session
from .latency import measure_side_by_side
from .layers import OnnxRuntimeProfile
from .machine import machine_info

if TYPE_CHECKING:
    from ...export.calibrate import CalibrationTable
    from ...export.lowered import LoweredModel

RUNS = 15
"""Profiled runs of each file."""
SAMPLES, SECONDS = 21, 20.0
Entry = tuple[tuple[str, ...], float]
"""Names of the layers that an operator of the runtime was made from, and its milliseconds."""
Profiled = tuple[Callable[[], object], Callable[[], list[list[Entry]]]]
"""Runs a file with profiling; returns the entries of each run so far, and stops."""


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
        profile = PROFILES.get(self.target.name)
        if profile is None:
            whole = Times(self._runtime, machine, self.threads, "", *self._whole(quantised), {})
            return estimated(self.model, table, whole)
        names = in_file(self.model)
        profiled = [profile(artifact, self._x, self.threads) for artifact in (self._plain, quantised)]
        for _ in range(RUNS + 1):
            for run, _ in profiled:
                run()
        plain, own = (_fastest(entries()[1:]) for _, entries in profiled)  # without the first run
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


def _bound(session: Session, x: Array) -> Callable[[], object]:
    return lambda: session.run(x)


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
    found: dict[str, float] = {}
    for parts, ms in spent.items():
        nodes = list(dict.fromkeys(names[part] for part in map(plain_name, parts) if part in names))
        for node in nodes:
            found[node] = found.get(node, 0.0) + ms / len(nodes)
    return found


def _onnxruntime(artifact: Artifact, x: Array, threads: int) -> Profiled:
    profile = OnnxRuntimeProfile(artifact.model_path, threads)
    runs = 0

    def run() -> None:
        nonlocal runs
        profile.run(x)
        runs += 1

    def entries() -> list[list[Entry]]:
        kernels = [
            e for e in profile.events() if e.get("cat") == "Node" and e["name"].endswith("_kernel_time")
        ]
        each = len(kernels) // max(1, runs)
        parts = [kernels[index * each : (index + 1) * each] for index in range(runs)]
        return [[((e["name"],), e["dur"] / 1e3) for e in part] for part in parts]

    return run, entries


def _openvino(artifact: Artifact, x: Array, threads: int) -> Profiled:
    import openvino as ov

    config = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERF_COUNT": True,
    }
    compiled = ov.Core().compile_model(str(artifact.model_path), "CPU", config)
    made_of: dict[str, tuple[str, ...]] = {}
    for op in compiled.get_runtime_model().get_ops():
        original = op.get_rt_info()["originalLayersNames"]
        words = str(original.value if hasattr(original, "value") else original)
        made_of[op.get_friendly_name()] = tuple(filter(None, words.split(",")))
    request = compiled.create_infer_request()
    runs: list[list[Entry]] = []

    def run() -> None:
        request.infer([x])
        runs.append(
            [
                (made_of.get(entry.node_name) or (entry.node_name,), entry.real_time.total_seconds() * 1e3)
                for entry in request.get_profiling_info()
            ]
        )

    return run, lambda: runs


PROFILES: dict[str, Callable[[Artifact, Array, int], Profiled]] = {
    "onnx": _onnxruntime,
    "openvino": _openvino,
}
"""Target name -> profiled runs of an artifact, operator by operator."""
