"""The run behind ``fdikp-edge deploy``: a network through every target and precision asked for.

Build all, verify each, time all side by side with PyTorch eager, run a photo through each that takes one,
write the report. A target that cannot be built or run here is a row that says why. Nothing appears in the
output folder until all of it is there.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..export.targets import Target, capability, select
from ..models import sources
from ..models.sources.base import NetworkSource
from ..runtime.deblur import Deblurrer
from ..runtime.errors import BadInputError, FdikpEdgeError, OutputError, TargetUnavailableError
from ..runtime.evidence import latency_evidence, parity_evidence
from ..runtime.files import making_folder
from ..runtime.images import read_photo, write_photo
from ..runtime.photo import Photo
from ..runtime.progress import Progress
from ..runtime.samples import sample_photo
from ..runtime.sessions import Session, available_threads, open_session, open_stand_in
from .accuracy.error_map import Worst, save
from .accuracy.kept_reference import KeptReference
from .accuracy.parity import verify
from .mixed_precision import Bounds
from .prepared import Prepared
from .report.files import listed
from .report.model import REPORT_HTML, REPORT_JSON, Report, Row
from .report.write import write_report
from .reproduce import Asked
from .staging import staged
from .timing.latency import measure_side_by_side
from .timing.machine import Watch, machine_info

if TYPE_CHECKING:
    from torch import nn

    from ..export.calibrate import CalibrationTable
    from ..export.lowered import LoweredModel


PICTURES = "results"
ON_NOISE = "on noise, since no samples were given"
"""What a row says that is verified on nothing else."""
ERRORS = "errors"


def artifact_name(model: str, target: str, precision: str, size: Sequence[int]) -> str:
    """Return the folder name of an artifact: ``tiny-onnx-fp32-256x256``; of a network that takes no picture,
    with the shape of its first input."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", model).strip("-.") or "model"
    return f"{plain}-{target}-{precision}-{'x'.join(map(str, size))}"


def deploy(
    model: nn.Module | NetworkSource,
    out: str | Path,
    *,
    targets: Sequence[str] = ("all",),
    precisions: Sequence[str] = ("fp32",),
    size: tuple[int, int] | None = (256, 256),
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
        contract: ``float_nchw`` or ``uint8_nhwc``.
        name: what artifacts call the network; the source's name when ``None``.
        source: how the command line names what is handed over as objects here: the network and its seed, the
            table (``--model tiny --table mine.json``). Without it the report records no commands.
        table: calibration table for fp16 and int8; made from the shipped photos when ``None``.
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
    prepared = Prepared(network, size, name, contract, possible, table, bounds, photo_pairs, threads)
    first = prepared.extent
    if table is not None:
        table.check(prepared.weights_sha256, first)
    with making_folder(Path(out)), staged(Path(out), overwrite=overwrite) as stage:
        run = _Run(
            prepared=prepared,
            stage=stage.folder,
            size=first,
            name=name,
            photo=None if chosen is None else read_photo(chosen),
            threads=threads,
            asked=Asked(
                source=tuple(source),
                size=size if any(None in spec.shape for spec in network.inputs) else None,
                contract=contract,
                photo=photo,
                threads=threads,
                min_samples=min_samples,
                max_seconds=max_seconds,
                bounds=bounds,
                photo_pairs=photo_pairs,
            ),
            progress=progress or (lambda done, total, now: None),
            steps=(3 if chosen is not None else 2) * len(pairs) + 3,
        )
        stage.reserve(REPORT_JSON, REPORT_HTML, PICTURES, ERRORS)
        stage.reserve(*(artifact_name(run.name, target.name, p, first) for target, p in pairs))
        report = run(pairs, Path(out), chosen)
        stage.publish()
    return report


@dataclass
class _Run:
    """The state that the steps of one run share."""

    prepared: Prepared
    stage: Path
    size: tuple[int, ...]
    name: str
    photo: Photo | None
    threads: int
    asked: Asked
    progress: Progress
    steps: int
    done: int = 0
    sessions: list[tuple[Row, Session]] = field(default_factory=list)

    def __call__(self, pairs: Sequence[tuple[Target, str]], out: Path, photo: Path | None) -> Report:
        from ..export.lowered import describe_model

        machine = machine_info()  # before the work, whose load is our own
        self.prepared.told = lambda now: self.progress(max(0, self.done - 1), self.steps, now)
        self.step("lowering the network")
        lowered = self.prepared.lowered(self.prepared.targets[0][0].profile)
        rows = [self.build(target, precision) for target, precision in pairs]
        with contextlib.ExitStack() as stack, _torch_threads(self.threads):
            for row in rows:
                self.open(row, stack)
            reference = KeptReference(lowered.reference)
            for row, session in self.sessions:
                self.verify(row, session, lowered, reference)
            del reference  # and the results that it holds
            self.time(lowered)
            for row, session in self.sessions:
                self.run_photo(row, session)
        for row in rows:
            row.reason = row.reason.replace(str(self.stage), str(out))  # where it will be found
            self.record(row, machine)
        self.step("writing the report")
        before = None
        if self.photo is not None:
            before = f"{PICTURES}/before.png"
            # Whoever merges this report elsewhere has no other copy; who took the photo where is not in it.
            write_photo(self.stage / before, replace(self.photo, exif=None))
        report = Report(
            folder=out,
            model=describe_model(lowered),
            machine=machine,
            rows=rows,
            created=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            photo=photo,
            command=self.asked.command([target.spec for target, _ in pairs], [p for _, p in pairs]),
            notes=list(self.prepared.notes),
            before=before,
            pictures=listed(
                self.stage, [*filter(None, [before]), *(name for row in rows for name in row.pictures)]
            ),
        )
        notes = write_report(report, self.stage)
        if notes:
            report = Report(**{**vars(report), "notes": [*report.notes, *notes]})
            write_report(report, self.stage)
        self.progress(self.steps, self.steps, "done")
        return report

    def step(self, now: str) -> None:
        """Report the start of the next step."""
        self.progress(self.done, self.steps, now)
        self.done += 1

    def build(self, target: Target, precision: str) -> Row:
        """Build one artifact."""
        from ..export.build import build_artifact

        row = Row(target.name, precision, self.size)
        row.reproduce = self.asked.command([target.spec], [precision])
        self.step(f"building {target.name} {precision}")
        name = artifact_name(self.name, target.name, precision, self.size)
        with _row_errors(row, "building"):
            target.check(precision)
            lowered = self.prepared.lowered(target.profile)
            table = self.prepared.table_for(target, precision)
            if precision == "int8" and table is not None:
                mixed = table.section(lowered.lowered.key).mixed_precision
                row.mixed_precision = None if mixed is None else mixed.to_dict()
            began = time.perf_counter()
            row.artifact = build_artifact(
                lowered,
                target,
                precision,
                self.stage / name,
                table=table,
                photo=self.photo,
            )
            taken = {
                "lowering": self.prepared.seconds[target.profile],
                "building": time.perf_counter() - began,
            }
            row.seconds = {name: round(seconds, 2) for name, seconds in taken.items()}
            row.path = name
            row.audit = lowered.lowered.audit.to_json()
            here = capability(target)
            if not here.can_run:
                row.reason, row.reason_code = f"cannot run here: {here.reason}", "cannot_run"
        return row

    def open(self, row: Row, stack: contextlib.ExitStack) -> None:
        """Open the built artifact, or its stand-in if this machine cannot run it."""
        if row.artifact is None:
            return
        with _row_errors(row, "opening"):
            opener = open_stand_in if row.reason_code == "cannot_run" else open_session
            session = opener(row.artifact, threads=self.threads)
            if session is not None:
                stack.enter_context(session)
                row.session = session.describe()
                self.sessions.append((row, session))

    def verify(self, row: Row, session: Session, lowered: LoweredModel, reference: KeptReference) -> None:
        """Hold one artifact to its budget, on the samples and on the photo of this run."""
        self.step(f"verifying {row.target} {row.precision}")
        from ..export.inputs import has_samples

        with _row_errors(row, "verifying"):
            worst = Worst()
            samples = self.prepared.samples(lowered, self.photo)
            row.parity = verify(session, reference, samples, seen=worst)
            why_not = row.reason
            on_noise = "" if has_samples(lowered.source, lowered.inputs) else ON_NOISE
            row.state, row.reason = row.parity.verdict(
                session.caveat, session.remark, row.parity.remark, on_noise
            )
            row.reason_code = "" if row.state == "verified" else "over_budget"
            if session.is_stand_in:
                remarks = [*row.parity.problems, why_not, session.caveat]
                remarks += [] if row.parity.problems else [session.remark]
                row.reason = "; ".join(filter(None, remarks))
                if row.state == "verified":
                    row.state, row.reason_code = "unverified", "cannot_run"
            if worst.seen is not None:
                name = artifact_name(self.name, row.target, row.precision, self.size)
                row.error_map = save(worst.seen, self.stage / ERRORS, name)

    def time(self, lowered: LoweredModel) -> None:
        """Time all artifacts that work and eager by turns, on one sample."""
        self.step("measuring latency")
        working = {
            i: (row, session)
            for i, (row, session) in enumerate(self.sessions)
            if row.parity is not None and not session.caveat  # the time of a stand-in says nothing
        }
        if not working:
            return
        x = self.prepared.samples(lowered, self.photo)[0].arrays
        calls: dict[str, Callable[[], object]] = {
            str(i): functools.partial(session.run, x) for i, (_, session) in working.items()
        }
        calls["eager"] = functools.partial(lowered.reference, x)
        watch = Watch()
        measured = measure_side_by_side(
            calls, min_samples=self.asked.min_samples, max_seconds=self.asked.max_seconds
        )
        conditions = watch.stop()
        for i, (row, _) in working.items():
            row.latency, row.eager, row.conditions = measured[str(i)], measured["eager"], conditions

    def run_photo(self, row: Row, session: Session) -> None:
        """Run the whole photo through one artifact that takes one."""
        if self.photo is None or not session.artifact.passport.maps_pictures:
            return
        self.step(f"running {row.target} {row.precision} on the photo")
        with _row_errors(row, "running on the photo"):
            result = Deblurrer(session).photo(self.photo)
            picture = f"{PICTURES}/{artifact_name(self.name, row.target, row.precision, self.size)}.png"
            write_photo(self.stage / picture, result)
            row.picture = picture

    def record(self, row: Row, machine: dict[str, Any]) -> None:
        """Write what was found into the artifact's passport."""
        if row.artifact is not None and row.state != "unavailable":
            evidence = []
            using = row.session or {}
            if row.parity is not None:
                evidence.append(
                    parity_evidence(row.parity.to_dict(), row.state, row.reason, where=machine, using=using)
                )
            if (latency := row.latency_dict()) is not None:
                evidence.append(latency_evidence(latency, where=machine, using=using))
            row.artifact = row.artifact.amend(state=row.state, reason=row.reason)
            if evidence:
                row.artifact = row.artifact.record(*evidence)


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


@contextlib.contextmanager
def _row_errors(row: Row, step: str) -> Iterator[None]:
    """Turn what goes wrong with one target into its row, so that the others go on.

    ``step`` is named where an error is not our own, and says nothing of the place.

    A full disk and bad input are the whole run's, and pass.
    """
    try:
        yield
    except (OutputError, MemoryError):
        raise
    except TargetUnavailableError as error:
        built = row.artifact is not None
        row.state, row.reason = "unverified" if built else "unavailable", str(error)
        row.reason_code = "cannot_run" if built else "cannot_build"
    except FdikpEdgeError as error:
        row.state, row.reason, row.reason_code = "failed", str(error), "error"
    except Exception as error:  # a converter or runtime broke in a way of its own
        lines = str(error).strip().splitlines()
        row.state, row.reason_code = "failed", "error"
        row.reason = f"{step} failed with {type(error).__name__}: {lines[0] if lines else 'no message'}"


@contextlib.contextmanager
def _torch_threads(threads: int) -> Iterator[None]:
    """Give torch as many threads as the runtimes have, for the block."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
