"""``fdikp-edge deploy``: the main job, from a network to verified artifacts and a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...runtime.errors import BadInputError
from .. import show
from ..groups import spread
from ..guard import complain
from ..options import (
    ALL,
    FP32,
    OUT_FOLDER,
    JsonOption,
    MixedPrecisionOptions,
    NetworkOptions,
    OutFolderOption,
    OverwriteOption,
    PrecisionsOption,
    TableOption,
    TargetsOption,
    ThreadsOption,
)

if TYPE_CHECKING:
    from ...benchmarks.report.model import Report, Row


@spread
def deploy(
    *,
    network: NetworkOptions,
    target: TargetsOption = ALL,
    precision: PrecisionsOption = FP32,
    table: TableOption = None,
    mixed: MixedPrecisionOptions,
    out: OutFolderOption = OUT_FOLDER,
    photo: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Photo to verify with, and to run an image network on.",
            show_default="an included photo",
        ),
    ] = None,
    runs: Annotated[
        int, typer.Option(metavar="N", min=3, max=1_000_000, help="Number of timed runs per artifact.")
    ] = 100,
    seconds: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0.1, max=86400, help="Time limit for timing one artifact."),
    ] = 30.0,
    overwrite: OverwriteOption = False,
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> int:
    """Build, verify, measure, run on a photo.

    All at once: builds a network for edge runtimes, holds each artifact against PyTorch, measures both by
    turns, runs a photograph through each that takes one, and writes a report. The network can be your own:
    --model net.py:Net. Several sizes, such as --size 256x256 --size 720x1280, are built into one folder, from
    which run takes the size for each photo.
    """
    from ...export.targets import select

    sizes = network.sizes()
    bounds = mixed.bounds()
    chosen = select(target, precision)  # a wrong name is said now, not after seconds of loading torch
    if bounds is not None and not any(p == "int8" for _, p in chosen):
        raise BadInputError("--max-drop-db and --min-speedup apply to int8: add --precision int8")
    with show.working("reading the network", slow=True) as step:
        from ...benchmarks.deploy import deploy as run
        from ...calibration.table import read_table

        report = run(
            network.source(),
            out,
            targets=target,
            precisions=precision,
            size=sizes,
            contract=network.contract.contract,
            source=(*network.words(), *(() if table is None else ("--table", str(table)))),
            photo=photo,
            table=None if table is None else read_table(table),
            bounds=bounds,
            photo_pairs=mixed.pairs,
            overwrite=overwrite,
            threads=threads,
            min_samples=runs,
            max_seconds=seconds,
            progress=step,
        )
    if json:
        show.as_json(report.to_dict())
    else:
        _print(report, of_onnx=str(network.model).endswith(".onnx"))
    for note in report.notes:
        complain(note, kind="note")
    states = {row.state for row in report.rows}
    if "failed" in states:
        return 1
    return 0 if states & {"verified", "unverified"} else 2


def _print(report: Report, *, of_onnx: bool) -> None:
    from ...benchmarks.timing.latency import tail_note

    measures = {row.parity.measure for row in report.rows if row.parity is not None}
    tensors, mixed = measures == {"tensor"}, len(measures) > 1
    several = len({row.size for row in report.rows}) > 1
    columns = (
        "target",
        "precision",
        *(("size#",) if several else ()),
        "state",
        "max rel#" if tensors else "max abs#",
        "SNR dB#" if tensors else "PSNR dB#" if not mixed else "PSNR or SNR dB#",
        "p50 ms#",
        "p99 ms#",
        "vs eager#",
        "MB#",
        "build s#",
        "reason",
    )
    show.table(
        f"{report.model['name']} in {report.folder}, on {report.machine['cpu']}",
        columns,
        [_row(row, several) for row in report.rows],
    )
    whom, eager = ("the original file in ONNX Runtime",) * 2 if of_onnx else ("PyTorch", "PyTorch eager")
    figures = (
        f"max rel, SNR: difference from {whom}, relative to its result's largest magnitude"
        if tensors
        else f"max abs, PSNR: difference from {whom}"
    )
    show.line(f"{figures}. vs eager: speed-up over {eager} in the same run.")
    if note := tail_note(row.latency.to_dict() for row in report.rows if row.latency is not None):
        show.line(note)
    if mixed:
        show.line("of results that are no images: max abs relative to the largest magnitude, and SNR.")
    for row in report.rows:
        if row.unstable_because:
            name = " ".join(_name(row, several))
            show.line(f"~ unstable: {name}: {'; '.join(row.unstable_because)}")
    show.line("build s: excludes lowering, which artifacts of one target share (see seconds in report.json).")
    for row in report.rows:
        if row.mixed_precision is not None:
            name = " ".join(_name(row, several)[::2])
            show.line(f"   mixed precision: {name}: {row.mixed_precision['summary']}")
        if row.path is not None:
            show.line(f"artifact: {report.folder / row.path}")
        if row.picture is not None:
            show.line(f"   photo: {report.folder / row.picture}")
    for name in ("report.html", "report.json"):
        if (report.folder / name).exists():
            show.line(f"  report: {report.folder / name}")


def _name(row: Row, several: bool) -> tuple[str, ...]:
    """Return what tells a row from the others: target, precision, and the size if there are several."""
    return (row.target, row.precision, *(("x".join(map(str, row.size)),) if several else ()))


def _row(row: Row, several: bool) -> tuple[str, ...]:
    from ...benchmarks.timing.latency import has_tail

    parity = ("", "") if row.parity is None else (f"{row.parity.max_abs:.2e}", f"{row.parity.psnr_db:.1f}")
    took = ("", "")
    if row.latency is not None:
        tail = f"{row.latency.p99:.1f}" if has_tail(row.latency.to_dict()) else ""
        took = (f"{row.latency.p50:.1f}", tail)
    faster = "" if row.latency is None or row.eager is None else f"{row.eager.p50 / row.latency.p50:.2f}x"
    faster = f"~{faster}" if faster and row.unstable_because else faster
    no_gain = f"~{row.no_gain}" if row.no_gain and row.unstable_because else row.no_gain
    megabytes = "" if row.bytes is None else f"{row.bytes / 1e6:.2f}"
    seconds = f"{row.seconds['building']:.1f}" if "building" in row.seconds else ""
    return (
        *(*_name(row, several), row.state),
        *(*parity, *took, faster, megabytes, seconds, "; ".join(filter(None, (row.reason, no_gain)))),
    )
