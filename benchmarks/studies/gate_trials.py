"""Does the latency check of `gate` raise false alarms on this machine, and does it see a real slowdown?

    python -m fdikp_edge.benchmarks.studies.gate_trials ARTIFACT --reruns 20 --clock wall --clock cpu

The same comparison as in `gate`, many times over: of an artifact with itself, and with a copy that does a few
per cent more work in every call. That work is planted into the copy's file, as operators whose result is
multiplied by nearly nothing and added to the picture; how much it is, is measured in processor time, with
both called by turns. Works for artifacts of the target onnx with floats as output.
"""

from __future__ import annotations

import argparse
import functools
import math
import shutil
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...runtime import program
from ...runtime.artifact import Artifact, ArtifactWriter
from ...runtime.errors import BadInputError
from ...runtime.fields import PASSPORT_NAME
from .. import script
from ..gate.checks import CLOCKS, opener
from ..timing.machine import Watch, machine_info
from ..timing.paired import Comparison, compare

ROWS = 64
"""Length of the sums in the planted matrix product."""
FIRST_COLUMNS = 512
TRIES = 3
PLANTING_SECONDS = 40.0
NEVER_DONE = 1 - 1e-9
"""A confidence that is not reached, so that all the time is used."""


def plant(artifact: Artifact, dest: Path, columns: int) -> Artifact:
    """Write a copy of an artifact that also multiplies its input (as rows of 64) by a 64 x columns matrix.

    Raises:
        BadInputError: it is not of the target onnx, or not of floats.
    """
    import onnx
    from onnx import helper, numpy_helper

    passport = artifact.passport
    if passport.target != "onnx" or passport.output.dtype != "float32":
        raise BadInputError(f"{artifact.path}: work can be planted into float artifacts of onnx only")
    model = onnx.load(artifact.path / passport.model_file)
    graph, name = model.graph, passport.output.name
    last = next(node for node in graph.node if name in node.output)
    last.output[list(last.output).index(name)] = "planted_before"
    matrix = np.random.default_rng(0).standard_normal((ROWS, columns)).astype(np.float32)
    stored = {
        "planted_rows": np.array([-1, ROWS], np.int64),
        "planted_matrix": matrix,
        "planted_nothing": np.float32(1e-12),
    }
    graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in stored.items())
    nodes: tuple[tuple[str, list[str], str, dict[str, Any]], ...] = (
        ("Reshape", [passport.input.name, "planted_rows"], "planted_input", {}),
        ("MatMul", ["planted_input", "planted_matrix"], "planted_product", {}),
        ("ReduceMean", ["planted_product"], "planted_mean", {"keepdims": 0}),
        ("Mul", ["planted_mean", "planted_nothing"], "planted_little", {}),
        ("Add", ["planted_before", "planted_little"], name, {}),
    )
    graph.node.extend(helper.make_node(kind, read, [written], **how) for kind, read, written, how in nodes)
    with ArtifactWriter(dest, overwrite=True) as writer:
        shutil.copytree(artifact.path, writer.folder, dirs_exist_ok=True)
        (writer.folder / PASSPORT_NAME).unlink()
        onnx.save(model, writer.folder / passport.model_file)
        return writer.commit(passport)


def plant_share(artifact: Artifact, folder: Path, share: float, threads: int) -> tuple[Artifact, float]:
    """Plant about ``share`` more work; return the copy and how much was measured, in processor time."""
    x, _ = artifact.golden()
    columns = FIRST_COLUMNS
    for _ in range(TRIES):
        copy = plant(artifact, folder / f"planted-{columns}", columns)
        measured = compare(
            opener(artifact, x, threads),
            opener(copy, x, threads),
            timer=CLOCKS["cpu"],
            confidence=NEVER_DONE,
            max_seconds=PLANTING_SECONDS,
        )
        slowdown = measured.ratio - 1
        script.note(f"{columns} columns are {100 * slowdown:.2f} % more work, in {measured.pairs} pairs")
        if abs(slowdown - share) < 0.04 * share:
            break
        columns = max(1, min(1 << 16, math.ceil(columns * share / max(slowdown, share / 20))))
    return copy, slowdown


def run(
    artifact: Artifact, folder: Path, given: argparse.Namespace
) -> tuple[list[dict[str, Any]], list[Comparison]]:
    """Return a row for each clock and kind of trial, and all comparisons."""
    slower, slowdown = plant_share(artifact, folder, given.percent / 100, given.threads)
    kinds = {"clean": (artifact, given.reruns), f"{100 * slowdown:+.1f} %": (slower, given.slowdowns)}
    done: dict[tuple[str, str], list[Comparison]] = {(c, k): [] for c in given.clock for k in kinds}
    x, _ = artifact.golden()
    opened = functools.partial(opener, x=x, threads=given.threads)
    for number in range(max(given.reruns, given.slowdowns)):
        # By turns, so that whatever the machine does meanwhile meets all of them.
        for (clock, kind), results in done.items():
            other, count = kinds[kind]
            if number < count:
                limits: dict[str, Any] = {"limit": 1 + given.percent / 100, "max_seconds": given.seconds}
                timed = compare(opened(artifact), opened(other), timer=CLOCKS[clock], seed=number, **limits)
                results.append(timed)
                script.note(f"{clock} {kind} {number + 1}: {timed.verdict}: {timed}, {timed.seconds:.0f} s")
    rows = [_row(clock, kind, results) for (clock, kind), results in done.items() if results]
    return rows, [one for results in done.values() for one in results]


def _row(clock: str, kind: str, results: Sequence[Comparison]) -> dict[str, Any]:
    verdicts = [one.verdict for one in results]
    return {
        "clock": clock,
        "trial": kind,
        "n": len(results),
        **{verdict: verdicts.count(verdict) for verdict in ("no slower", "slower", "undecided")},
        "ratio": statistics.median(one.ratio for one in results),
        "lowest": min(one.ratio for one in results),
        "highest": max(one.ratio for one in results),
        "seconds": statistics.median(one.seconds for one in results),
    }


def show(result: dict[str, Any]) -> str:
    """Return a result as text."""
    columns = (
        "clock",
        "trial",
        "n",
        "no slower",
        "slower",
        "undecided",
        "median",
        "least",
        "most",
        "seconds",
    )
    rows = [
        (
            *(row[k] for k in columns[:6]),
            *(f"{100 * (row[k] - 1):+.1f} %" for k in ("ratio", "lowest", "highest")),
            f"{row['seconds']:.0f}",
        )
        for row in result["rows"]
    ]
    load = result["conditions"].get("other_load")
    return "\n".join(
        (
            f"{result['artifact']} on {result['machine'].get('cpu')}, {result['threads']} threads",
            script.table(columns, rows),
            "" if load is None else f"Meanwhile other processes kept {load:.1f} processors busy.",
        )
    ).rstrip()


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m fdikp_edge.benchmarks.studies.gate_trials",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("artifact", nargs="?", type=Path, help="artifact folder (default: tiny, built now)")
    parser.add_argument("--reruns", type=int, default=20, help="comparisons with itself (20)")
    parser.add_argument("--slowdowns", type=int, default=20, help="comparisons with the slower copy (20)")
    parser.add_argument("--percent", type=float, default=5.0, help="slowdown to plant and to look for (5)")
    parser.add_argument("--seconds", type=float, default=120.0, help="most time for each comparison (120)")
    parser.add_argument("--clock", action="append", choices=CLOCKS, help="repeatable (default: wall)")
    parser.add_argument("--threads", type=int, default=1, help="of the runtime (1)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    given.clock = given.clock or ["wall"]
    counts = given.reruns, given.slowdowns
    if not 1 <= given.percent <= 100 or given.threads < 1 or not given.seconds > 0 or min(counts) < 0:
        parser.error("give 1 to 100 percent, a thread or more, some time, and no fewer than no trials")
    with tempfile.TemporaryDirectory() as scratch:
        artifact = Artifact.open(given.artifact or script.tiny_artifact(Path(scratch)))
        watch = Watch()
        rows, _ = run(artifact, Path(scratch), given)
    result = {
        "artifact": artifact.path.name,
        "threads": given.threads,
        "machine": machine_info(),
        "rows": rows,
    }
    script.finish({**result, "conditions": watch.stop()}, given.json, show)


if __name__ == "__main__":
    program.run(main)
