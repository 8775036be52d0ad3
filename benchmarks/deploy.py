"""The run behind ``fdikp-edge deploy``: a network through every target and precision asked for.

Build all, verify each, time all side by side with PyTorch eager, run a photo through each that takes one,
write the report. A target that cannot be built or run here is a row that says why. Nothing appears in the
output folder until all of it is there.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..export.sizes import check_sizes
from ..export.targets import Target, select
from ..models import sources
from ..models.sources.base import NetworkSource
from ..runtime.errors import BadInputError, TargetUnavailableError
from ..runtime.files import making_folder
from ..runtime.images import read_photo, write_photo
from ..runtime.progress import Progress
from ..runtime.samples import sample_photo
from ..runtime.sessions import available_threads
from .mixed_precision import Bounds
from .one_size import ERRORS, PICTURES, OneSize, Steps
from .prepared import Prepared
from .report.files import listed
from .report.model import REPORT_HTML, REPORT_JSON, Report
from .report.write import write_report
from .reproduce import Asked
from .staging import staged
from .timing.machine import machine_info

if TYPE_CHECKING:
    from torch import nn

    from ..export.calibrate import CalibrationTable

Size = tuple[int, int]


def deploy(
    model: nn.Module | NetworkSource,
    out: str | Path,
    *,
    targets: Sequence[str] = ("all",),
    precisions: Sequence[str] = ("fp32",),
    size: Size | list[Size] | None = (256, 256),
    contract: str = "float_nchw",
    name: str | None = None,
    source: Sequence[str] = (),
    photo: str | Path | None = None,
    table: CalibrationTable | None = None,
    bounds: Bounds | None = None,
    photo_pairs: str | Path | None = None,
    overwrite: bool = False,
    threads: int | None = None,
    min_samples: int = 100,
    max_seconds: float = 30.0,
    progress: Progress | None = None,
) -> Report:
    """Build, verify, time and try out a network on every target and precision asked for.

    Args:
        model: a network or its source, as :func:`fdikp_edge.export.lower_model` takes it.
        out: folder for the artifacts, ``results/``, ``errors/``, ``report.json`` and ``report.html``.
        targets: names from the target table, or ``all``.
        precisions: names, or ``all`` for those each target offers.
        size: height and width of the pictures the network is built for, where its source leaves them open.
            Of a list, each is built: artifacts then lie in a folder for each target and precision, which
            :class:`fdikp_edge.runtime.buckets.buckets.Buckets` opens.
        contract: ``float_nchw`` or ``uint8_nhwc``.
        name: what artifacts call the network; the source's name when ``None``.
        source: how the command line names what is handed over as objects here: the network and its seed, the
            table (``--model tiny --table mine.json``). Without it the report records no commands.
        table: calibration table for fp16 and int8, for one size; made from the shipped photos when ``None``.
        bounds: what int8 must keep: layers go back to floats until it does, on targets that use the table.
        photo_pairs: a folder of pairs of photos to judge that on; defocused calibration photos when ``None``.
        photo: a photograph for the golden input, and to run a network from picture to picture on; the
            source's, or a sample, when ``None``.
        overwrite: replace what an earlier run left in ``out``.
        threads: processor threads for every runtime and for eager; all that may be used when ``None``.
        min_samples: timed calls of each artifact, and of eager.
        max_seconds: stop timing after this long for each of them.
        progress: see :data:`Progress`.

    Returns:
        The report, as written.

    Raises:
        BadInputError: an unknown name, a size the network does not take, an unreadable photo, or a network
            that cannot be lowered.
        OutputError: ``out`` holds an earlier run, or cannot be written. Nothing was changed.
        CalibrationError: the table is for other weights or another size.
        TargetUnavailableError: not one of the targets can be built here.
    """
    pairs = select(targets, precisions)
    if not pairs:
        raise BadInputError("no target and precision to deploy")
    network = model if isinstance(model, NetworkSource) else sources.of(model, name)
    network = replace(network, load=functools.cache(network.load))
    if photo is not None and not network.takes_photos:
        raise BadInputError(f"{network.name}: takes no photo; leave out --photo, and give --samples")
    chosen = (
        Path(photo)
        if photo is not None
        else network.photo or sample_photo()
        if network.takes_photos
        else None
    )
    threads = threads or available_threads()
    name = name or network.name
    possible = _possible(pairs)
    sizes: list[Size | None] = []
    if isinstance(size, list):
        each_once = list(dict.fromkeys(size))
        check_sizes(network, each_once, table)
        sizes += each_once
    else:
        sizes.append(size)
    several = len(sizes) > 1
    prepared = [
        Prepared(network, one, name, contract, possible, table, bounds, photo_pairs, threads) for one in sizes
    ]
    if table is not None:
        table.check(prepared[0].weights_sha256, prepared[0].extent)
    asked = Asked(
        source=tuple(source),
        sizes=tuple(one for one in sizes if one is not None) if network.leaves_size_open else (),
        contract=contract,
        photo=photo,
        threads=threads,
        min_samples=min_samples,
        max_seconds=max_seconds,
        bounds=bounds,
        photo_pairs=photo_pairs,
    )
    with making_folder(Path(out)), staged(Path(out), overwrite=overwrite) as stage:
        read = None if chosen is None else read_photo(chosen)
        each = (3 if chosen is not None else 2) * len(pairs) + 2
        steps = Steps(progress or (lambda done, total, now: None), each * len(sizes) + 1)
        runs = [
            OneSize(
                prepared=one,
                stage=stage.folder,
                size=one.size if several and one.size is not None else one.extent,
                several=several,
                name=name,
                photo=read,
                asked=replace(asked, sizes=(one.size,)) if several and one.size is not None else asked,
                steps=steps,
            )
            for one in prepared
        ]
        stage.reserve(REPORT_JSON, REPORT_HTML, PICTURES, ERRORS)
        places = [run.place(target.name, precision) for run in runs for target, precision in pairs]
        stage.reserve(*dict.fromkeys(place.partition("/")[0] for place in places))
        report = _run(runs, pairs, stage.folder, Path(out), chosen, asked)
        stage.publish()
    return report


def _run(
    runs: Sequence[OneSize],
    pairs: Sequence[tuple[Target, str]],
    stage: Path,
    out: Path,
    photo: Path | None,
    asked: Asked,
) -> Report:
    """Do the work at each size, and write the report on all."""
    from ..export.lowered import describe_model

    machine = machine_info()  # before the work, whose load is our own
    steps = runs[0].steps
    for run in runs:  # a size that the network does not take is told before hours of work on the others
        steps.next(run.at_this_size("lowering the network"))
        run.lowered()
    rows = [row for run in runs for row in run(pairs, out, machine)]
    steps.next("writing the report")
    before = None
    shown = runs[0].photo
    if shown is not None:
        before = f"{PICTURES}/before.png"
        # Whoever merges this report elsewhere has no other copy; who took the photo where is not in it.
        write_photo(stage / before, replace(shown, exif=None))
    model = describe_model(runs[0].lowered())
    if len(runs) > 1:
        del model["program_sha256"]  # which each size has of its own, in its row
        model["sizes"] = [list(run.size) for run in runs]
    report = Report(
        folder=out,
        model=model,
        machine=machine,
        rows=rows,
        created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        photo=photo,
        command=asked.command([target.spec for target, _ in pairs], [p for _, p in pairs]),
        notes=list(dict.fromkeys(note for run in runs for note in run.prepared.notes)),
        before=before,
        pictures=listed(stage, [*filter(None, [before]), *(name for row in rows for name in row.pictures)]),
    )
    notes = write_report(report, stage)
    if notes:
        report = Report(**{**vars(report), "notes": [*report.notes, *notes]})
        write_report(report, stage)
    steps.progress(steps.total, steps.total, "done")
    return report


def _possible(pairs: Sequence[tuple[Target, str]]) -> list[tuple[Target, str]]:
    """Return those that can be built here.

    Raises:
        TargetUnavailableError: there is none; says why each cannot.
    """
    possible, problems = [], []
    for target, precision in pairs:
        try:
            target.check(precision)
        except TargetUnavailableError as error:
            problems.append(str(error))
        else:
            possible.append((target, precision))
    if not possible:
        raise TargetUnavailableError(f"nothing can be built here: {'; '.join(problems)}")
    return possible
