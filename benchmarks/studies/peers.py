"""How many networks each converter takes by itself, and how many through the lowering, in one run.

``python -m fdikp_edge.benchmarks.studies.peers --networks tests/export/spectral/spectral_networks`` prints a
table. A collection is a Python package with ``NETWORKS``: values that have ``name``, ``build()`` (an
``nn.Module`` in eval mode) and ``inputs()`` (a tuple of tensors).

Where the machine can run the result it must equal PyTorch eager within 1e-4 of the output's largest value;
Core ML and TensorRT-RTX only convert here (running takes macOS, and a GPU). Every conversion happens in a
worker process, so a converter that crashes or hangs costs one entry and not the run.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from ..timing.machine import machine_info
from .peer_routes import ROUTES, TOLERANCE, Entry, convert, load_networks

_Result = TypeVar("_Result")

TITLES = {
    "onnx": "torch.onnx (dynamo), ONNX Runtime",
    "openvino": "OpenVINO from torch",
    "coreml": "coremltools from torch.export",
    "tensorrt-rtx": "TensorRT-RTX parser on torch.onnx's file",
}


class WorkerLostError(Exception):
    """A worker process did not answer: ``state`` is ``crashed`` or ``hung``, after ``seconds``."""

    def __init__(self, state: str, seconds: float, message: str) -> None:
        """Keep what became of it; the message says so in words."""
        super().__init__(message)
        self.state = state
        self.seconds = seconds


class Worker:
    """One process that converts, at most ``seconds`` each time; a new one after a crash or a hang."""

    def __init__(self, seconds: float) -> None:
        """Start nothing yet."""
        self._seconds = seconds
        self._pool: ProcessPoolExecutor | None = None

    def call(self, function: Callable[..., _Result], *arguments: object) -> _Result:
        """Return what a function of a module returns there.

        Raises:
            WorkerLostError: the process died, or took too long; it is ended.
        """
        if self._pool is None:
            spawn = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(1, spawn, initializer=_silence)
        job = self._pool.submit(function, *arguments)
        try:
            return job.result(self._seconds)
        except BrokenProcessPool:
            self.kill()
            raise WorkerLostError("crashed", 0.0, "the converter's process died") from None
        except FutureTimeoutError:
            self.kill()
            raise WorkerLostError("hung", self._seconds, f"over {self._seconds:.0f} s") from None

    def convert(self, path: Path, name: str, route: str, lowered: bool) -> Entry:
        """Return the entry made there; ``crashed`` or ``hung`` where it did not come back."""
        try:
            return self.call(convert, path, name, route, lowered)
        except WorkerLostError as lost:
            return Entry(name, route, lowered, lost.state, lost.seconds, detail=str(lost))

    def close(self) -> None:
        """End the idle process."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def kill(self) -> None:
        """End the process, whatever it is doing."""
        if self._pool is not None:
            for process in list((self._pool._processes or {}).values()):
                process.kill()
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None


def _silence() -> None:
    """Converters print remarks and progress bars, some of them from C++."""
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)


def announced(names: Sequence[str]) -> Iterator[str]:
    """Yield each name, and show on stderr which one is taken and how many are done.

    On a terminal that is a progress bar, elsewhere a line for each name.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    taken = TextColumn("{task.description}", markup=False)
    columns = (taken, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=len(names))
        for index, name in enumerate(names):
            bar.update(task, description=name)
            if not console.is_terminal:
                console.print(f"[{index + 1}/{len(names)}] {name}", markup=False, highlight=False)
            yield name
            bar.advance(task)


def totals(entries: Sequence[Entry]) -> dict[str, dict[str, int]]:
    """Return per route how many networks there were, and how many gave a usable file either way."""
    table: dict[str, dict[str, int]] = {}
    for route in dict.fromkeys(e.route for e in entries):
        rows = [e for e in entries if e.route == route and e.state != "missing"]
        table[route] = {
            "of": sum(e.lowered for e in rows),
            "direct": sum(e.good for e in rows if not e.lowered),
            "lowered": sum(e.good for e in rows if e.lowered),
        }
    return table


def print_table(entries: Sequence[Entry], *, verbose: bool) -> None:
    """Print the totals, then what failed through the lowering (with ``verbose`` the peers' failures too)."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table("converter", "by itself", "lowered first")
    for route, row in totals(entries).items():
        of = f"of {row['of']}"
        counts = (f"{row['direct']} {of}", f"{row['lowered']} {of}") if row["of"] else ("not installed", "")
        table.add_row(TITLES[route], *counts)
    console.print(table)
    for e in entries:
        if e.good or e.state == "missing" or not (e.lowered or verbose):
            continue
        result = e.detail if e.error is None else f"relative error {e.error:.1e}"
        line = f"{e.route:13} {'lowered' if e.lowered else 'direct':8} {e.network}: {e.state}, {result}"
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def report(entries: Sequence[Entry]) -> Mapping[str, Any]:
    """Return the run as plain JSON values."""
    return {
        "version": 1,
        "tolerance": TOLERANCE,
        "machine": machine_info(),
        "totals": totals(entries),
        "entries": [{**asdict(e), "seconds": round(e.seconds, 2)} for e in entries],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison; return 1 if a lowered network failed somewhere, else 0."""
    parser = argparse.ArgumentParser(
        prog="python -m fdikp_edge.benchmarks.studies.peers",
        description="How many networks each converter takes by itself, and how many through the lowering.",
    )
    every = list(ROUTES)
    parser.add_argument("--networks", type=Path, required=True, help="package or module with NETWORKS")
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="these networks only")
    parser.add_argument("--route", nargs="*", default=every, choices=every, help="these converters only")
    parser.add_argument("--seconds", type=float, default=120.0, help="most that one conversion may take")
    parser.add_argument("--json", type=Path, help="write every entry to this file")
    parser.add_argument("--verbose", action="store_true", help="also say why converters failed by themselves")
    options = parser.parse_args(arguments)
    names = [network.name for network in load_networks(options.networks)]
    if unknown := sorted(set(options.only) - set(names)):
        parser.error(f"no such network: {', '.join(unknown)}; there are: {', '.join(names)}")
    chosen = [name for name in names if not options.only or name in options.only]
    worker = Worker(options.seconds)
    entries: list[Entry] = []
    try:
        for name in announced(chosen):
            for route in options.route:
                entries += [worker.convert(options.networks, name, route, how) for how in (False, True)]
    except BaseException:
        worker.kill()
        raise
    worker.close()
    print_table(entries, verbose=options.verbose)
    if options.json:
        options.json.write_text(json.dumps(report(entries), indent=1))
    return int(any(e.lowered and not e.good and e.state != "missing" for e in entries))


if __name__ == "__main__":
    raise SystemExit(main())
