"""How fast int8 is on OpenVINO beside float32 of the same program, and what it costs in the picture.

    python -m fdikp_edge.benchmarks.studies.int8 --variant small --size 512x512

Where NNCF is installed (``pip install nncf``; it need not be in this environment for anything else), its own
post-training quantisation of the same float32 model on the same tiles stands beside ours: as it comes, and
with the matrices of the transforms left out.

All are called by turns in one process. ``x fp32`` is the median of the ratios of calls that were timed one
after the other, and in brackets the ratio of the fastest calls. ``--clock cpu`` counts the processor time of
this process instead of the time on the wall: with ``--threads 1`` that is what a call would take if nothing
else ran. PSNR is against the float32 model on photos that ranges were not taken from: the worst of them.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import logging
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...runtime import program
from ...runtime.photo import Array
from ...runtime.pixels import psnr_db
from ...runtime.sessions import available_threads
from .. import script
from ..timing.latency import Latency, measure_side_by_side
from ..timing.machine import machine_info
from .runners import CLOCKS

if TYPE_CHECKING:
    import openvino

    from ...export.lowered import LoweredModel

FLOAT, OURS = "fp32", "int8"
ABSENT = "NNCF is not installed here, so its row is missing: pip install nncf"


def compare(
    model: LoweredModel,
    *,
    photos: Sequence[Path] | None = None,
    held_out: Sequence[Path] | None = None,
    tiles: int = 8,
    threads: int = 1,
    rounds: int = 30,
    seconds: float = 60.0,
    clock: str = "wall",
    nncf: bool = True,
    weights: str = "8bit",
) -> dict[str, Any]:
    """Quantise a network and time it.

    Args:
        model: lowered for OpenVINO.
        photos: to take ranges from; those shipped when ``None``.
        held_out: to compare pictures on; other tiles of the shipped photos when ``None``.
        tiles: number of tiles that ranges are taken from.
        threads: of every model.
        rounds: samples of each, fewer where ``seconds`` for each end before.
        seconds: see above.
        clock: ``wall`` or ``cpu``.
        nncf: whether to have NNCF beside it, where installed.
        weights: as the target's option of that name; ``7bit`` where 8-bit sums saturate.

    Returns:
        ``{"what", "weights", "threads", "clock", "rows": [{"name", "min", "p50", "n", "times_fp32",
        "times_fp32_min", "psnr_db", "mb"}], "notes", "machine"}``, milliseconds and 10^6 bytes.
    """
    from ...export.calibrate import calibrate, choose_samples, inputs_of
    from ...export.onnx import build as onnx_target
    from ...export.openvino.build import convert
    from ...export.options import weight_levels

    levels = weight_levels({"weights": weights})
    machine = machine_info()
    samples = choose_samples(model, photos, count=tiles)
    script.note("taking ranges")
    table = calibrate(model, samples=samples)
    models = {}
    for name, precision in ((FLOAT, "fp32"), (OURS, "int8")):
        graph, notes = onnx_target.convert_to(model.lowered, precision, table, weight_levels=levels)
        models[name] = convert(onnx_target.serialise(graph, "model.onnx"))
        if precision == "fp32":
            transforms = [node.name for node in graph.graph.node if _reads_constant(node)]
    if nncf and importlib.util.find_spec("nncf") is not None:
        script.note("NNCF")
        models |= _by_nncf(models[FLOAT], inputs_of(model, samples), transforms)
    elif nncf:
        notes = [*notes, ABSENT]
    unseen = inputs_of(model, choose_samples(model, held_out, count=4, seed=1))
    script.note(f"compiling and timing {len(models)} by turns")
    runs, refused = _sessions(models, threads)
    notes = [*notes, *refused]
    calls = {name: _bound(run, unseen[0]) for name, run in runs.items()}
    times = measure_side_by_side(
        calls, warmup=2, min_samples=rounds, max_seconds=seconds, clock=CLOCKS[clock]
    )
    expected = [runs[FLOAT](x) for x in unseen]
    rows = [
        {
            **_row(name, times),
            "psnr_db": None
            if name == FLOAT
            else round(min(psnr_db(run(x), y) for x, y in zip(unseen, expected, strict=True)), 2),
            "mb": round(_size(models[name]) / 1e6, 3),
        }
        for name, run in runs.items()
    ]
    return {
        "what": f"{model.name} {model.size[0]}x{model.size[1]} on OpenVINO",
        "weights": list(model.notes),
        "threads": threads,
        "clock": clock,
        "rows": rows,
        "notes": notes,
        "machine": machine,
    }


def _by_nncf(
    model: openvino.Model, inputs: Sequence[Array], transforms: Sequence[str]
) -> dict[str, openvino.Model]:
    """NNCF's quantisation of a float model on the same inputs: as it comes, and without the transforms."""
    nncf: Any = importlib.import_module("nncf")
    nncf.set_log_level(logging.ERROR)
    data = nncf.Dataset(list(inputs))
    present = {op.get_friendly_name() for op in model.get_ops()}
    scope = nncf.IgnoredScope(names=[name for name in transforms if name in present])
    options = {"subset_size": len(inputs)}
    with contextlib.redirect_stdout(sys.stderr):  # its progress bars
        return {
            "NNCF": nncf.quantize(model.clone(), data, **options),
            "NNCF, not transforms": nncf.quantize(model.clone(), data, ignored_scope=scope, **options),
        }


def _reads_constant(node: Any) -> bool:
    """Whether a node computes with a constant of the lowering."""
    return node.op_type in ("MatMul", "Conv", "Gemm") and any(n.startswith("spectral.") for n in node.input)


def _sessions(
    models: Mapping[str, openvino.Model], threads: int
) -> tuple[dict[str, Callable[[Array], Array]], list[str]]:
    """(what runs, why others do not). Ours must run; what a peer made may be refused, which is a result."""
    runs, refused = {}, []
    for name, model in models.items():
        try:
            runs[name] = _session(model, threads)
        except RuntimeError as error:
            if name in (FLOAT, OURS):
                raise
            lines = [line for line in str(error).splitlines() if line.strip()] or ["no message"]
            refused.append(f"{name}: OpenVINO's processor plugin does not compile it: {lines[-1]}")
    return runs, refused


def _session(model: openvino.Model, threads: int) -> Callable[[Array], Array]:
    import openvino

    config = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
    }
    request = openvino.Core().compile_model(model, "CPU", config).create_infer_request()

    def run(x: Array) -> Array:
        result: Array = request.infer([x], share_inputs=True, share_outputs=False)[0]
        return result

    return run


def _bound(run: Callable[[Array], Array], x: Array) -> Callable[[], object]:
    return lambda: run(x)


def _size(model: openvino.Model) -> int:
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        openvino.save_model(model, f"{folder}/model.xml", compress_to_fp16=False)
        return sum(path.stat().st_size for path in Path(folder).iterdir())


def _row(name: str, times: dict[str, Latency]) -> dict[str, Any]:
    took, base = times[name], times[FLOAT]
    pairs = [slow / fast for slow, fast in zip(base.samples, took.samples, strict=False)]
    return {
        "name": name,
        "min": round(took.min, 2),
        "p50": round(took.p50, 2),
        "n": took.n,
        "times_fp32": round(statistics.median(pairs), 3),
        "times_fp32_min": round(base.min / took.min, 3),
    }


def show(result: dict[str, Any]) -> str:
    """Return a result of :func:`compare` as text."""
    columns = ("", "min ms", "p50 ms", "n", "x fp32", "worst PSNR dB", "MB")
    rows = [
        (
            row["name"],
            f"{row['min']:.1f}",
            f"{row['p50']:.1f}",
            row["n"],
            f"{row['times_fp32']:.2f} ({row['times_fp32_min']:.2f})",
            "" if row["psnr_db"] is None else f"{row['psnr_db']:.1f}",
            f"{row['mb']:.2f}",
        )
        for row in result["rows"]
    ]
    machine = result["machine"]
    return "\n".join(
        [
            f"{result['what']}, {machine['cpu']}, {result['threads']} threads, {result['clock']} time, "
            f"load before {machine['load']}",
            *result["weights"],
            script.table(columns, rows),
            *result["notes"],
        ]
    )


def _photos(folder: str) -> list[Path]:
    photos = [path for path in sorted(Path(folder).rglob("*")) if path.suffix.lower() in SUFFIXES]
    if not photos:
        raise argparse.ArgumentTypeError(f"no photos in {folder!r}")
    return photos


SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


def main() -> None:
    """Read the command line and print the comparison."""
    parser = argparse.ArgumentParser(
        prog="python -m fdikp_edge.benchmarks.studies.int8",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--variant", default="small", help="variant or weights file (default: small)")
    parser.add_argument("--size", type=script.numbers(2), default=(512, 512), help="height x width (512x512)")
    parser.add_argument("--photos", type=_photos, help="folder to take ranges from (default: those shipped)")
    parser.add_argument("--held-out", type=_photos, help="folder to compare pictures on (default: as above)")
    parser.add_argument("--tiles", type=int, default=8, help="tiles that ranges are taken from (8)")
    parser.add_argument("--threads", type=int, default=available_threads(), help="for every runner")
    parser.add_argument("--rounds", type=int, default=30, help="samples of each, at most (30)")
    parser.add_argument("--seconds", type=float, default=60.0, help="bound on the timing of each (60)")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="what is counted (wall)")
    parser.add_argument("--no-nncf", action="store_true", help="leave NNCF out")
    parser.add_argument("--weights", choices=("8bit", "7bit"), default="8bit", help="of int8 (8bit)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = vars(parser.parse_args())
    as_json, given["nncf"] = given.pop("json"), not given.pop("no_nncf")
    from ...export.lowered import lower_model
    from ...models import zoo

    script.note("lowering")
    model = lower_model(zoo.load(given.pop("variant")), given.pop("size"), profile="openvino")
    script.finish(compare(model, **given), as_json, show)


if __name__ == "__main__":
    program.run(main)
