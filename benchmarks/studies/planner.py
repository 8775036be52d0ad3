"""Does the planner choose well? Every strategy at a set of transform sites, predicted and measured.

    python -m fdikp_edge.benchmarks.studies.planner --target onnx
    python -m fdikp_edge.benchmarks.studies.planner --target openvino --site 16x128x128 --json out.json

Each strategy that does not decline is built for the target's runtime, and all of one site are timed by
turns. A site's regret is the time of the planner's choice over that of the fastest strategy; 1 means that no
choice was better. The rates in the rows of the target table are fitted to this.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...runtime import program
from ...runtime.photo import Array
from ...runtime.sessions import available_threads
from .. import script
from ..timing.latency import measure_side_by_side
from ..timing.machine import machine_info
from .runners import in_onnxruntime, in_openvino, rested

TARGETS = ("onnx", "openvino")
WARMUP = 2


@dataclass(frozen=True)
class Case:
    """Transforms over ``dims`` of a real signal of ``shape``, to the half spectrum and back."""

    shape: tuple[int, ...]
    dims: tuple[int, ...]

    @property
    def name(self) -> str:
        """The shape, transformed axes in brackets."""
        axes = {dim % len(self.shape) for dim in self.dims}
        return "x".join(f"[{size}]" if i in axes else str(size) for i, size in enumerate(self.shape))


#: Last axes of 64 lines, whole maps, small windows, and maps with channels as the fastest index.
CASES = (
    *(Case((64, n), (-1,)) for n in (128, 192, 256, 320, 512, 640, 1024, 1280)),
    *(Case((16, h, w), (-2, -1)) for h, w in ((64, 64), (96, 160), (128, 128), (180, 320), (256, 256))),
    *(Case((64, h, w), (-2, -1)) for h, w in ((64, 64), (128, 128))),
    *(Case((1024, n, n), (-2, -1)) for n in (8, 16)),
    *(Case((1, h, w, 16), (1, 2)) for h, w in ((64, 64), (96, 160), (128, 128), (180, 320), (256, 256))),
    *(Case((1, h, w, 64), (1, 2)) for h, w in ((64, 64), (128, 128))),
)


def compare(
    cases: Sequence[Case], target: str, *, threads: int, rounds: int, seconds: float = 2.0
) -> dict[str, Any]:
    """Measure every strategy at every case, forward and back.

    Returns:
        ``{"target", "threads", "rows": [{"site", "kind", "chosen", "fastest", "regret", "strategies": {name:
        {"predicted_us", "measured_us", "macs", "moved", "operators"}}}], "right", "regret", "machine"}``.
        ``measured_us`` is the fastest of the calls; ``right`` counts the rows whose choice was the fastest;
        ``regret`` is the geometric mean over the rows.
    """
    import torch

    torch.set_num_threads(threads)
    machine = machine_info()
    rows = []
    for index, case in enumerate(cases):
        for inverse in (False, True):
            script.note(f"{target} {index + 1}/{len(cases)}: {case.name} {'c2r' if inverse else 'r2c'}")
            rows.append(_row(case, inverse, target, threads, rounds, seconds))
    return {
        "target": target,
        "threads": threads,
        "rows": rows,
        "right": sum(row["chosen"] == row["fastest"] for row in rows),
        "regret": math.exp(sum(math.log(row["regret"]) for row in rows) / len(rows)),
        "machine": machine,
    }


def show(result: dict[str, Any]) -> str:
    """Return a result of :func:`compare` as text."""
    lines = []
    for row in result["rows"]:
        for name, figures in row["strategies"].items():
            marks = [word for word in ("chosen", "fastest") if row[word] == name]
            times = [f"{figures[key]:.0f}" for key in ("predicted_us", "measured_us")]
            regret = f"{row['regret']:.2f}" if name == row["chosen"] else ""
            lines.append((f"{row['site']} {row['kind']}", name, *times, " ".join(marks), regret))
    columns = ("site", "strategy", "predicted us", "measured us", "", "regret")
    rows, machine = result["rows"], result["machine"]
    worst = max(rows, key=lambda row: row["regret"])
    return "\n".join(
        [
            f"{result['target']} on {machine['cpu']}, {result['threads']} threads, load {machine['load']}",
            script.table(columns, lines),
            f"The cheapest prediction was the fastest in {result['right']} of {len(rows)} cases; geometric "
            f"mean regret {result['regret']:.3f}, worst {worst['regret']:.2f} ({worst['site']} "
            f"{worst['kind']}).",
        ]
    )


def _row(case: Case, inverse: bool, target: str, threads: int, rounds: int, seconds: float) -> dict[str, Any]:
    import torch

    from ...export.onnx import build as onnx_target
    from ...export.spectral import lower
    from ...export.spectral.strategies import STRATEGIES

    module, x = _module(case, inverse)
    example = (torch.from_numpy(x),)
    planned = lower(module, example, target=target).plan.choices[0]
    calls: dict[str, Callable[[], object]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in planned.predicted_us:
            program = lower(module, example, target=target, plan={"*": name}).program
            model, _ = onnx_target.convert(program)
            data = onnx_target.serialise(model, "model.onnx")
            if target == "onnx":
                timed = in_onnxruntime(data, threads, Path(folder))
            else:
                timed = in_openvino(data, threads)
            calls[name] = functools.partial(timed.run, (x,))
        times = measure_side_by_side(rested(calls), warmup=WARMUP, min_samples=rounds, max_seconds=seconds)
    strategies = {}
    for name, predicted in planned.predicted_us.items():
        cost = STRATEGIES[name].cost(planned.site)
        strategies[name] = {
            "predicted_us": round(predicted, 1),
            "measured_us": round(times[name].min * 1e3, 1),
            "macs": cost.macs,
            "moved": cost.moved,
            "operators": cost.operators,
        }
    fastest = min(strategies, key=lambda name: strategies[name]["measured_us"])
    chosen = planned.strategy
    return {
        "site": case.name,
        "kind": "c2r" if inverse else "r2c",
        "chosen": chosen,
        "fastest": fastest,
        "regret": strategies[chosen]["measured_us"] / strategies[fastest]["measured_us"],
        "strategies": strategies,
    }


def _module(case: Case, inverse: bool) -> tuple[Any, Array]:
    """A network of one site with one real input and output, and an input for it.

    The parts of a spectrum are two slices of the input, or are added up for the output: little work, and the
    same for all strategies.
    """
    import torch

    class Forward(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            z = torch.fft.rfftn(x, dim=case.dims)
            total: torch.Tensor = z.real + z.imag
            return total

    class Inverse(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            z = torch.complex(x[0], x[1])
            sizes = [case.shape[dim] for dim in case.dims]
            signal: torch.Tensor = torch.fft.irfftn(z, s=sizes, dim=case.dims)
            return signal

    shape = list(case.shape)
    if inverse:
        shape[case.dims[-1]] = shape[case.dims[-1]] // 2 + 1
        shape.insert(0, 2)
    x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    return (Inverse() if inverse else Forward()).eval(), x


def main() -> None:
    """Read the command line, measure, and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m fdikp_edge.benchmarks.studies.planner",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--target", choices=TARGETS, default="onnx", help="whose runtime (default: onnx)")
    parser.add_argument("--site", type=script.numbers(3), help="only CxHxW, transformed over H and W")
    parser.add_argument("--threads", type=int, default=available_threads(), help="of the runtime")
    parser.add_argument("--rounds", type=int, default=30, help="timed calls of each strategy (default: 30)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything to FILE")
    given = parser.parse_args()
    cases = [Case(given.site, (-2, -1))] if given.site else CASES
    result = compare(cases, given.target, threads=given.threads, rounds=given.rounds)
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(show(result))


if __name__ == "__main__":
    program.run(main)
