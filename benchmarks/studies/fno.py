"""What pruned spectra gain: Fourier neural operators with whole and with pruned transforms, side by side.

    python -m fdikp_edge.benchmarks.studies.fno
    python -m fdikp_edge.benchmarks.studies.fno --size 256x256 --modes 12x12 --json fno.json

A Fourier neural operator (Li et al., "Fourier Neural Operator for Parametric Partial Differential Equations",
2021) keeps a few low modes of a whole spectrum. The same network is lowered twice, with ``lower(...,
pruned=False)``, which transforms everything, and as usual. Both run in ONNX Runtime and in OpenVINO beside
PyTorch eager, by turns in one process. ``times whole`` is how many times as fast the pruned program is in the
same runtime: by the median of the ratios of calls that were timed one after the other, and in brackets by the
fastest calls. The bytes are those of the transforms' matrices in the program. ``--clock cpu`` counts the
processor time of this process, threads added up, instead of the time on the wall.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...runtime import program
from ...runtime.photo import Array
from ...runtime.sessions import available_threads
from .. import script
from ..timing.latency import Latency, measure_side_by_side
from ..timing.machine import machine_info
from .runners import CLOCKS, Inputs, TimedModel, in_onnxruntime, in_openvino, rested

if TYPE_CHECKING:
    import torch

CASES = (((64, 64), (8, 5)), ((256, 256), (12, 12)))
"""(height and width, modes kept along them: half of the rows from each end of the spectrum)."""
RUNTIMES = ("onnx", "openvino")
MATRICES = ("spectral.dft", "spectral.flat", "spectral.split")
"""How the names of the transforms' matrices begin in a program."""
EAGER = "torch eager"


def network(modes: tuple[int, int], width: int, blocks: int) -> torch.nn.Module:
    """Return an operator from 3 maps to 1 with seeded weights; ``modes`` are even along the height."""
    import torch
    from torch.nn import functional as F

    class Spectral(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            shape = (width, width, modes[0] // 2, modes[1])
            self.low = torch.nn.Parameter(torch.randn(shape, dtype=torch.cfloat) / width)
            self.high = torch.nn.Parameter(torch.randn(shape, dtype=torch.cfloat) / width)
            self.skip = torch.nn.Conv2d(width, width, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            rows, columns = modes[0] // 2, modes[1]
            spectrum = torch.fft.rfft2(x)
            out = torch.zeros_like(spectrum)
            kept = (spectrum[:, :, :rows, :columns], spectrum[:, :, -rows:, :columns])
            out[:, :, :rows, :columns] = torch.einsum("bixy,ioxy->boxy", kept[0], self.low)
            out[:, :, -rows:, :columns] = torch.einsum("bixy,ioxy->boxy", kept[1], self.high)
            result: torch.Tensor = F.gelu(torch.fft.irfft2(out, s=x.shape[-2:]) + self.skip(x))
            return result

    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [Spectral() for _ in range(blocks)]
        ends = torch.nn.Conv2d(3, width, 1), torch.nn.Conv2d(width, 1, 1)
        return torch.nn.Sequential(ends[0], *layers, ends[1]).eval()


def compare(
    size: tuple[int, int],
    modes: tuple[int, int],
    *,
    threads: int,
    width: int = 32,
    blocks: int = 4,
    rounds: int = 60,
    seconds: float = 60.0,
    clock: str = "wall",
) -> dict[str, Any]:
    """Lower the network with whole and with pruned transforms, and time both beside eager.

    Returns:
        ``{"what", "threads", "clock", "rows": [{"name", "min", "p50", "n", "times_eager", "times_whole",
        "times_whole_min", "multiply_adds", "matrix_bytes", "max_relative_error"}], "machine"}``, in
        milliseconds. ``multiply_adds`` counts the transforms alone, ``times_whole`` is ``None`` in rows that
        are not pruned, and the errors are against eager in float64.
    """
    import torch

    from ...export.onnx import build as onnx_target
    from ...export.spectral import lower

    machine = machine_info()
    torch.set_num_threads(threads)
    module = network(modes, width, blocks)
    x = np.random.default_rng(0).standard_normal((1, 3, *size), dtype=np.float32)
    image = torch.from_numpy(x)
    exact = network(modes, width, blocks)
    for parameter in exact.parameters():  # Module.double() leaves complex ones as they are
        parameter.data = parameter.data.to(torch.complex128 if parameter.is_complex() else torch.float64)
    with torch.no_grad():
        truth: Array = exact(image.double()).numpy()

    def eager(_: Inputs) -> Array:
        with torch.no_grad():
            result: Array = module(image).numpy()
        return result

    runs = {EAGER: TimedModel(eager)}
    facts: dict[str, dict[str, int]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for target in RUNTIMES:
            for form, pruned in (("whole", False), ("pruned", True)):
                name = f"{target}, {form}"
                script.note(f"building {name}")
                lowered = lower(module, (image,), target=target, pruned=pruned)
                model, _ = onnx_target.convert(lowered.program)
                data = onnx_target.serialise(model, "model.onnx")
                runs[name] = (
                    in_onnxruntime(data, threads, Path(folder))
                    if target == "onnx"
                    else in_openvino(data, threads)
                )
                facts[name] = {
                    "multiply_adds": sum(row.multiply_adds for row in lowered.audit.rows),
                    "matrix_bytes": matrix_bytes(lowered.program),
                }
        errors = {
            name: float(np.abs(run.run((x,)) - truth).max() / np.abs(truth).max())
            for name, run in runs.items()
        }
        script.note(f"timing {len(runs)} by turns")
        calls = rested({name: functools.partial(run.run, (x,)) for name, run in runs.items()})
        times = measure_side_by_side(
            calls,
            warmup=3,
            min_samples=rounds,
            max_seconds=seconds / len(calls),
            clock=CLOCKS[clock],
        )
    return {
        "what": f"{size[0]}x{size[1]}, {modes[0]}x{modes[1]} modes, {width} channels, {blocks} blocks",
        "threads": threads,
        "clock": clock,
        "rows": [_row(name, times, facts.get(name, {}), errors[name]) for name in runs],
        "machine": machine,
    }


def matrix_bytes(lowered: torch.export.ExportedProgram) -> int:
    """Return the bytes of the matrices that a program's transforms multiply by."""
    return sum(
        tensor.numel() * tensor.element_size()
        for name, tensor in lowered.state_dict.items()
        if name.startswith(MATRICES)
    )


def show(results: Sequence[dict[str, Any]]) -> str:
    """Return results of :func:`compare` as text."""
    lines = []
    for result in results:
        machine = result["machine"]
        columns = ("", "min ms", "p50 ms", "n", "vs eager", "times whole", "M mult-adds", "matrices", "error")
        rows = [
            (
                row["name"],
                f"{row['min']:.2f}",
                f"{row['p50']:.2f}",
                row["n"],
                f"{row['times_eager']:.2f}",
                ""
                if row["times_whole"] is None
                else f"{row['times_whole']:.2f} ({row['times_whole_min']:.2f})",
                *(
                    ("", "")
                    if row["matrix_bytes"] is None
                    else (f"{row['multiply_adds'] / 1e6:.2f}", f"{row['matrix_bytes'] / 1e3:.1f} kB")
                ),
                f"{row['max_relative_error']:.1e}",
            )
            for row in result["rows"]
        ]
        lines += [
            f"{result['what']}; {machine['cpu']}, {result['threads']} threads, {result['clock']} clock, "
            f"load {machine['load']}",
            script.table(columns, rows),
            "",
        ]
    return "\n".join(lines).rstrip()


def _row(name: str, times: dict[str, Latency], facts: dict[str, int], error: float) -> dict[str, Any]:
    took, eager = times[name], times[EAGER]
    whole = times.get(name.replace("pruned", "whole")) if name.endswith("pruned") else None
    return {
        "name": name,
        "min": round(took.min, 3),
        "p50": round(took.p50, 3),
        "n": took.n,
        "times_eager": round(_paired(eager, took), 3),
        "times_whole": None if whole is None else round(_paired(whole, took), 3),
        "times_whole_min": None if whole is None else round(whole.min / took.min, 3),
        "multiply_adds": facts.get("multiply_adds"),
        "matrix_bytes": facts.get("matrix_bytes"),
        "max_relative_error": error,
    }


def _paired(slower: Latency, faster: Latency) -> float:
    """Return the median of the ratios of calls that were timed one after the other."""
    return statistics.median(a / b for a, b in zip(slower.samples, faster.samples, strict=True))


def main() -> None:
    """Read the command line, measure, and print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m fdikp_edge.benchmarks.studies.fno",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--size", type=script.numbers(2), help="height x width (default: both cases)")
    parser.add_argument("--modes", type=script.numbers(2), default=(8, 5), help="kept modes (8x5)")
    parser.add_argument("--width", type=int, default=32, help="channels (default: 32)")
    parser.add_argument("--blocks", type=int, default=4, help="blocks (default: 4)")
    parser.add_argument("--threads", type=int, default=available_threads(), help="for every runner")
    parser.add_argument("--rounds", type=int, default=60, help="samples of each, at most (60)")
    parser.add_argument("--seconds", type=float, default=60.0, help="bound on the timing of a case (60)")
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall", help="what is counted (wall)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything to FILE")
    given = parser.parse_args()
    cases = [(given.size, given.modes)] if given.size else CASES
    if any(modes[0] % 2 or not 0 < modes[0] <= h or not 0 < modes[1] <= w // 2 for (h, w), modes in cases):
        parser.error("--modes: an even number of rows up to the height, and columns up to half the width")
    options = {
        key: getattr(given, key) for key in ("threads", "width", "blocks", "rounds", "seconds", "clock")
    }
    results = [compare(size, modes, **options) for size, modes in cases]
    if given.json:
        given.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(show(results))


if __name__ == "__main__":
    program.run(main)
