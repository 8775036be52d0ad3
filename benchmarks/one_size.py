"""The part of :func:`.deploy.deploy` that is done once for each size."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..export.targets import Target, capability
from ..runtime.deblur import Deblurrer
from ..runtime.errors import FdikpEdgeError, OutputError, TargetUnavailableError
from ..runtime.evidence import latency_evidence, parity_evidence
from ..runtime.images import read_photo, write_photo
from ..runtime.photo import Photo
from ..runtime.progress import Progress
from ..runtime.sessions import Session, open_session, open_stand_in
from .accuracy.error_map import Worst, save
from .accuracy.gain import gain, sharp_of
from .accuracy.kept_reference import KeptReference
from .accuracy.parity import verify
from .places import artifact_name, bucket_place
from .prepared import Prepared
from .report.model import Row
from .reproduce import Asked
from .timing.latency import measure_side_by_side
from .timing.machine import Watch

if TYPE_CHECKING:
    from ..export.lowered import LoweredModel

PICTURES = "results"
ON_NOISE = "on noise, since no samples were given"
"""What a row says that is verified on nothing else."""
ERRORS = "errors"
LEAST_GAIN = 0.97
"""Median of a lower precision over that of float32, above which it gains nothing."""


@dataclass
class Steps:
    """How far a run is, for whoever watches."""

    progress: Progress
    total: int
    done: int = 0

    def next(self, now: str) -> None:
        """Report the start of the next step."""
        self.progress(self.done, self.total, now)
        self.done += 1

    def told(self, now: str) -> None:
        """Report what happens within a step."""
        self.progress(max(0, self.done - 1), self.total, now)


@dataclass
class OneSize:
    """The artifacts of a run at one size: each built, verified, timed and tried out, in this order."""

    prepared: Prepared
    stage: Path
    size: tuple[int, ...]
    several: bool
    name: str
    photo: Photo | None
    asked: Asked
    steps: Steps
    sessions: list[tuple[Row, Session]] = field(default_factory=list)

    def lowered(self) -> LoweredModel:
        """Return the network lowered for the first target that can be built."""
        self.prepared.told = self.steps.told
        return self.prepared.lowered(self.prepared.targets[0][0].profile)

    def __call__(self, pairs: Sequence[tuple[Target, str]], out: Path, machine: dict[str, Any]) -> list[Row]:
        """Return a row for each target and precision; ``out`` is where the artifacts will be found."""
        lowered = self.lowered()
        rows = [self.build(target, precision) for target, precision in pairs]
        with contextlib.ExitStack() as stack, _torch_threads(self.asked.threads):
            for row in rows:
                self.open(row, stack)
            reference = KeptReference(lowered.reference)
            for row, session in self.sessions:
                self.verify(row, session, lowered, reference)
            del reference  # and the results that it holds
            self.time(lowered)
            for row, session in self.sessions:
                self.run_photo(row, session)
            self.sessions.clear()
        for row in rows:
            row.reason = row.reason.replace(str(self.stage), str(out))
            self.record(row, machine)
        return rows

    def place(self, target: str, precision: str) -> str:
        """Return where an artifact lies in the folder of the run."""
        if self.several:
            return bucket_place(self.name, target, precision, (self.size[0], self.size[1]))
        return artifact_name(self.name, target, precision, self.size)

    def at_this_size(self, now: str) -> str:
        """Return a message with the size where there are several."""
        return f"{now} at {'x'.join(map(str, self.size))}" if self.several else now

    def build(self, target: Target, precision: str) -> Row:
        """Build one artifact."""
        from ..export.build import build_artifact

        row = Row(target.name, precision, self.size)
        row.reproduce = self.asked.command([target.spec], [precision])
        self.steps.next(self.at_this_size(f"building {target.name} {precision}"))
        place = self.place(target.name, precision)
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
                self.stage / place,
                table=table,
                photo=self.photo,
            )
            taken = {
                "lowering": self.prepared.seconds[target.profile],
                "building": time.perf_counter() - began,
            }
            row.seconds = {name: round(seconds, 2) for name, seconds in taken.items()}
            row.path = place
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
            session = opener(row.artifact, threads=self.asked.threads)
            if session is not None:
                stack.enter_context(session)
                row.session = session.describe()
                self.sessions.append((row, session))

    def verify(self, row: Row, session: Session, lowered: LoweredModel, reference: KeptReference) -> None:
        """Hold one artifact to its budget, on the samples and on the photo of this run."""
        self.steps.next(self.at_this_size(f"verifying {row.target} {row.precision}"))
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
        self.steps.next(self.at_this_size("measuring latency"))
        working = {
            i: (row, session)
            for i, (row, session) in enumerate(self.sessions)
            if row.parity is not None and not session.caveat  # the time of a stand-in says nothing
        }
        if not working:
            return
        x = self.prepared.samples(lowered, self.photo)[0].arrays
        calls: dict[str, Callable[[], object]] = {
            str(i): functools.partial(session.timed, x) for i, (_, session) in working.items()
        }
        calls["eager"] = functools.partial(lowered.reference, x)
        watch = Watch()
        measured = measure_side_by_side(
            calls, min_samples=self.asked.min_samples, max_seconds=self.asked.max_seconds
        )
        conditions = watch.stop()
        for i, (row, _) in working.items():
            row.latency, row.eager, row.conditions = measured[str(i)], measured["eager"], conditions
        for row, _ in working.values():
            row.no_gain = _no_gain(row, [other for other, _ in working.values()])

    def run_photo(self, row: Row, session: Session) -> None:
        """Run the whole photo through one artifact that takes one."""
        if self.photo is None or not session.artifact.passport.maps_pictures:
            return
        self.steps.next(self.at_this_size(f"running {row.target} {row.precision} on the photo"))
        with _row_errors(row, "running on the photo"):
            result = Deblurrer(session).photo(self.photo)
            picture = f"{PICTURES}/{artifact_name(self.name, row.target, row.precision, self.size)}.png"
            write_photo(self.stage / picture, result)
            row.picture = picture
            sharp = None if self.photo.source is None else sharp_of(self.photo.source)
            row.gain = None if sharp is None else gain(self.photo, result, read_photo(sharp))

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


def _no_gain(row: Row, others: Sequence[Row]) -> str:
    """Say that a lower precision is not faster than float32 of the same target, timed by turns with it."""
    plain = next((other for other in others if other.target == row.target and other.precision == "fp32"), row)
    if plain is row or row.latency is None or plain.latency is None:
        return ""
    own, fp32 = row.latency.p50, plain.latency.p50
    return f"no faster than fp32 here ({own:.1f} and {fp32:.1f} ms)" if own > LEAST_GAIN * fp32 else ""


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
