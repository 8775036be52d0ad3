"""How fast, side by side in one run: PyTorch eager, torch's own ONNX exporter, and this toolkit's artifacts.

    python -m fdikp_edge.benchmarks.studies.speed --model tiny --size 512x512
    python -m fdikp_edge.benchmarks.studies.speed --model net.py:Net --size 256x256
    python -m fdikp_edge.benchmarks.studies.speed --pair 64x128x128

``--model`` is what ``deploy`` takes. All are called by turns on the same inputs with the same number of
threads, and no sample is dropped. ``--seconds`` is about how long all timing takes together, warm-up
included; slow runners then get fewer samples than ``--rounds``, but at least three, for which it may take
longer. Building comes before (up to a minute for a whole network; notes on stderr say what is being done),
a few calls of each for ``--profile`` after it. Beside the times stand the network's multiply-adds and the
rate this machine reaches in plain matrix products, hence the time below which no float32 program of that
network can go; and with ``--profile``, where the time goes. ``--clock cpu`` counts the processor time of
this process, threads added up, instead of the time on the wall: with ``--threads 1`` that is what a call
would take if nothing else ran.
"""

from __future__ import annotations

import argparse
import functools
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...runtime import program
from ...runtime.photo import Array
from ...runtime.sessions import available_threads
from .. import script
from ..timing.latency import Latency, measure_side_by_side
from ..timing.machine import machine_info
from .runners import (
    CLOCKS,
    Inputs,
    TimedModel,
    in_onnxruntime,
    in_openvino,
    matrix_rate,
    multiply_adds,
    rested,
)
from .speed_table import EAGER, NAIVE, show

WARMUP = 2
OVERHEAD = 1.25
"""A bound on sampling costs this much more with the warm-up and the rests between turns."""


def network(
    spec: str,
    size: tuple[int, int] | None,
    threads: int,
    rounds: int,
    *,
    arguments: dict[str, Any] | None = None,
    declared: Sequence[str] = (),
    **options: Any,
) -> dict[str, Any]:
    """Time a network, as ``deploy --model`` takes it, at one size; see :func:`compare` for what is returned.

    ``size`` is that of the pictures whose size the network leaves open, ``arguments`` and ``declared`` what
    ``--model-arg`` and ``--input`` say.
    """
    from ...export.inputs import samples_of
    from ...export.lowered import lower_model
    from ...models.sources.declared import parse_input
    from ...models.sources.find import find

    note = _notes(spec)
    note("lowering for onnx")
    source = find(spec, arguments=arguments or {}, inputs=tuple(map(parse_input, declared)))
    model = lower_model(source, size, profile="onnx")
    sample = samples_of(source, model.inputs)[0]
    inputs = tuple(sample.arrays[contract.name] for contract in model.inputs)
    note("lowering for openvino")
    programs = {
        "onnx": model.lowered.program,
        "openvino": model.for_profile("openvino").lowered.program,
    }
    return compare(
        f"{model.name} {'x'.join(map(str, model.size))}",
        model.deployable,
        programs,
        inputs,
        threads,
        rounds,
        **options,
    )


def pair(shape: tuple[int, ...], threads: int, rounds: int, **options: Any) -> dict[str, Any]:
    """Time rfft2 and its inverse on ``shape`` (channels, height, width); see :func:`compare`."""
    import torch

    from ...export.spectral import lower

    class Pair(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            spectrum = torch.fft.rfft2(x, norm="ortho")
            result: torch.Tensor = torch.fft.irfft2(spectrum, s=x.shape[-2:], norm="ortho")
            return result

    x = np.random.default_rng(0).random((1, *shape), dtype=np.float32)
    example = (torch.from_numpy(x),)
    programs = {t: lower(Pair(), example, target=t).program for t in ("onnx", "openvino")}
    name = "rfft2 + irfft2 " + "x".join(map(str, shape))
    return compare(name, Pair(), programs, (x,), threads, rounds, **options)


def compare(
    name: str,
    model: Any,
    programs: dict[str, Any],
    inputs: Inputs,
    threads: int,
    rounds: int,
    *,
    seconds: float = 60.0,
    naive: bool = True,
    profile: bool = False,
    clock: str = "wall",
) -> dict[str, Any]:
    """Time a module, its naive export and its lowered programs by turns.

    ``rounds`` samples of each are taken, fewer where ``seconds`` for all of them together end before, and
    three in any case. ``clock`` is ``wall`` or ``cpu``.

    Returns:
        ``{"what", "threads", "clock", "multiply_adds", "rates_gmac_s", "limit_ms", "best", "rows": [{"name",
        "min", "p50", "p90", "n", "max_abs", "times_eager", "times_eager_min", "times_naive", …,
        "times_limit"}], "missing": {name: why}, "profile": {name: {operator: ms}}, "machine"}``.
        ``times_eager`` says how many times faster than eager, by medians; ``times_limit`` how many times the
        limit the fastest call took. ``best`` names the one of this toolkit's rows with the smallest median.
    """
    import torch
    from torch.utils._pytree import tree_leaves

    from ...export.onnx import build as onnx_target

    machine = machine_info()  # before the work, whose load is our own
    torch.set_num_threads(threads)
    tensors = tuple(map(torch.from_numpy, inputs))

    def eager(_: Inputs) -> Array:
        with torch.no_grad():
            first: Array = tree_leaves(model(*tensors))[0].numpy()
        return first

    note = _notes(name)
    missing: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        runs = {EAGER: TimedModel(eager)}
        if naive:
            note("building torch's own export")
            _try(runs, missing, NAIVE, lambda: in_onnxruntime(_naive(model, tensors), threads, scratch))
        note("building this toolkit's artifacts")
        onnx, _ = onnx_target.convert(programs["onnx"])
        data = onnx_target.serialise(onnx, "model.onnx")
        _try(runs, missing, "onnx", lambda: in_onnxruntime(data, threads, scratch))
        other, _ = onnx_target.convert(programs["openvino"])
        data_openvino = onnx_target.serialise(other, "model.onnx")
        _try(runs, missing, "openvino", lambda: in_openvino(data_openvino, threads))
        expected = eager(inputs)
        errors = {key: float(np.abs(timed.run(inputs) - expected).max()) for key, timed in runs.items()}
        note(f"timing {len(runs)} by turns, {rounds} samples of each or {seconds:g} s")
        calls = rested({key: functools.partial(timed.run, inputs) for key, timed in runs.items()})
        each = seconds / len(calls) / OVERHEAD
        times = measure_side_by_side(
            calls, warmup=WARMUP, min_samples=rounds, max_seconds=each, clock=CLOCKS[clock]
        )
        note("measuring the matrix rate")
        macs = multiply_adds(programs["onnx"], tensors)
        rates = matrix_rate(threads, scratch, clock=CLOCKS[clock])
        limit = macs / (max(rates.values()) * 1e9) * 1e3
        if profile:
            note("profiling")
        spent = {key: c.profile(inputs) for key, c in runs.items() if profile and c.profile is not None}
    best = min(
        (key for key in runs if key not in (EAGER, NAIVE)), key=lambda key: times[key].p50, default=None
    )
    return {
        "what": name,
        "threads": threads,
        "clock": clock,
        "multiply_adds": macs,
        "rates_gmac_s": {key: round(rate, 1) for key, rate in rates.items()},
        "limit_ms": round(limit, 3),
        "best": best,
        "rows": [_row(key, times, errors[key], limit) for key in runs],
        "missing": missing,
        "profile": spent,
        "machine": machine,
    }


def _notes(what: str) -> Callable[[str], None]:
    """Return a function that says on stderr what is being done, and how many seconds after the first note."""
    began = time.perf_counter()
    return lambda text: script.note(f"{what}: {time.perf_counter() - began:4.0f} s: {text}")


def _try(
    runs: dict[str, TimedModel], missing: dict[str, str], name: str, make: Callable[[], TimedModel]
) -> None:
    try:
        runs[name] = make()
    except Exception as error:  # a peer that cannot do it is a result
        lines = str(error).strip().splitlines()
        missing[name] = f"{type(error).__name__}: {lines[0] if lines else ''}"[:200]


def _naive(model: Any, tensors: tuple[Any, ...]) -> bytes:
    """Return what torch's exporter makes of the module as it is, at the opset that has DFT."""
    import torch

    from ...export.onnx.exporter import LOGGERS
    from ...runtime.sessions.quiet import quiet

    with quiet(*LOGGERS):
        exported = torch.onnx.export(model, tensors, None, dynamo=True, opset_version=20, verbose=False)
    assert exported is not None
    data: bytes = exported.model_proto.SerializeToString()
    return data


def _row(name: str, times: dict[str, Latency], error: float, limit: float) -> dict[str, Any]:
    took = times[name]
    naive = times.get(NAIVE)
    return {
        "name": name,
        "min": round(took.min, 3),
        "p50": round(took.p50, 3),
        "p90": round(took.p90, 3),
        "n": took.n,
        "max_abs": error,
        "times_eager": round(times[EAGER].p50 / took.p50, 3),
        "times_eager_min": round(times[EAGER].min / took.min, 3),
        "times_naive": None if naive is None else round(naive.p50 / took.p50, 3),
        "times_naive_min": None if naive is None else round(naive.min / took.min, 3),
        "times_limit": round(took.min / limit, 3) if limit > 0 else None,
    }


def main() -> None:
    """Read the command line and print the comparison."""
    parser = argparse.ArgumentParser(
        prog="python -m fdikp_edge.benchmarks.studies.speed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", default="tiny", help="network, as for deploy (default: tiny)")
    parser.add_argument("--model-arg", action="append", default=[], metavar="KEY=JSON", help="its arguments")
    parser.add_argument("--input", action="append", default=[], metavar="SPEC", help="what it takes")
    parser.add_argument("--size", type=script.numbers(2), help="height x width (512x512, where it is open)")
    parser.add_argument("--pair", type=script.numbers(3), help="time rfft2 + irfft2 on CxHxW instead")
    parser.add_argument("--threads", type=int, default=available_threads(), help="for every runner")
    parser.add_argument("--rounds", type=int, default=100, help="samples of each, at most (100)")
    parser.add_argument("--seconds", type=float, default=60.0, help="bound on all timing (default: 60)")
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall", help="what is counted (wall)")
    parser.add_argument("--no-naive", action="store_true", help="do not time torch's own exporter")
    parser.add_argument("--profile", action="store_true", help="also show time per operator, by operator")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    options = {
        "seconds": given.seconds,
        "naive": not given.no_naive,
        "profile": given.profile,
        "clock": given.clock,
    }
    if given.pair:
        result = pair(given.pair, given.threads, given.rounds, **options)
    else:
        arguments = {
            key: json.loads(value) for key, _, value in (text.partition("=") for text in given.model_arg)
        }
        size = given.size or (None if given.input else (512, 512))
        result = network(
            given.model,
            size,
            given.threads,
            given.rounds,
            arguments=arguments,
            declared=given.input,
            **options,
        )
    script.finish(result, given.json, show)


if __name__ == "__main__":
    program.run(main)
