"""The checks of a gate on one artifact: each asks one question and notes one answer."""

from __future__ import annotations

import contextlib
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ...export.targets import all_targets, get_target
from ...runtime.artifact import Artifact
from ...runtime.errors import ArtifactError, CheckFailedError, FdikpEdgeError, TargetUnavailableError
from ...runtime.passport import OUTSIDE_DELEGATE
from ...runtime.photo import Array
from ...runtime.sessions import Session, open_session
from ..accuracy.budgets import Measure, budget_for
from ..accuracy.parity import compare_recorded, verify_golden
from ..report.read import number, table
from ..timing.memory import measure_memory
from ..timing.paired import Call, Open, compare
from .baseline import Figures, model_bytes

Outcome = Literal["passed", "failed", "undecided", "skipped"]

TOLERANCES = {"size": 1.05, "memory": 1.10}
"""How many times the baseline's figure is still fine. Memory comes in pages, and in a runtime's arenas."""
SLACK_MB = 4.0
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
"""What latency may be counted in, in seconds: "cpu" is blind to waiting for others."""
WIDE = ("float", "float32", "float64", "double")
"""Names of arithmetic at full width in a census; all else is narrower."""


@dataclass(frozen=True)
class Check:
    """One question about one artifact; ``message`` answers it in a sentence, ``figures`` in numbers."""

    artifact: str
    name: str
    outcome: Outcome
    message: str
    figures: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return dict(vars(self))


@dataclass
class ArtifactChecks:
    """The checks of one artifact."""

    name: str
    artifact: Artifact
    entry: Mapping[str, Any]
    figures: Figures | None
    threads: int | None
    checks: list[Check]
    timer: Callable[[], float]

    def add(self, name: str, outcome: Outcome, message: str, **figures: Any) -> None:
        """Record a result."""
        self.checks.append(Check(self.name, name, outcome, message, figures))

    def judge(self, name: str, problems: Sequence[str], good: str, **figures: Any) -> None:
        """Record one failure that lists the problems, or a pass with the message ``good``."""
        self.add(name, "failed" if problems else "passed", "; ".join(problems) or good, **figures)

    def fixed(self) -> None:
        """Check state, reported parity, and the golden output on this machine against fixed budgets."""
        state, reason = str(self.entry["state"]), str(self.entry.get("reason") or "")
        code = self.entry.get("reason_code")
        if state == "unverified" and code is None:  # of a release that recorded the sentence alone
            old = "listed as unverified; the report is too old to record a reason code"
            self.add("state", "undecided", f"{old}: {reason}")
        else:
            ok = state == "verified" or (state == "unverified" and code == "cannot_run")
            self.judge("state", [] if ok else [f"listed as {state}: {reason}"], f"listed as {state}")
        passport = self.artifact.passport
        parity = table(self.entry.get("parity"))
        max_abs, psnr = number(parity.get("max_abs")), number(parity.get("psnr_db"))
        if (max_abs is None or psnr is None) and state == "verified":
            self.add("parity", "failed", "is listed as verified, but the report has no parity figures for it")
        elif max_abs is None or psnr is None:
            self.add("parity", "skipped", "was not verified on the machine of the report")
        else:
            measure: Measure = "tensor" if parity.get("measure") == "tensor" else "image"
            dtype = "uint8" if any(end.dtype == "uint8" for end in passport.outputs) else "float32"
            problems = budget_for(passport.precision, dtype, measure).problems(max_abs, psnr)
            ratio = "PSNR" if measure == "image" else "SNR"
            self.judge("parity", problems, f"within budget: max abs {max_abs:.2e}, {ratio} {psnr:.1f} dB")
        with self.session("golden", self.artifact) as session:
            if session is not None:
                golden = verify_golden(session)
                self.judge(
                    "golden", golden.problems, f"golden output on this machine: max abs {golden.max_abs:.2e}"
                )

    def sizes(self, figures: Figures) -> None:
        """Check the size of the model and its operators per precision."""
        now, then = model_bytes(self.artifact), figures.model_bytes
        grown = f"{now / 1e6:.2f} MB, was {then / 1e6:.2f} MB"
        self.judge("size", [grown] if now > TOLERANCES["size"] * then else [], grown, now=now, before=then)
        census, before = self.artifact.passport.precision_census, figures.precision_census
        worse = [
            f"{_counted(kind, count, 'operators ')}, now {census.get(kind, 0)}"
            for kind, count in before.items()
            if kind not in WIDE and _is_worse(kind, census.get(kind, 0), count)
        ]
        told = ", ".join(_counted(kind, count) for kind, count in census.items()) or "no counts"
        self.judge("precision", worse, told, now=dict(census), before=dict(before))
        changed = [
            f"{tool} {figures.toolchain.get(tool, 'none')} -> {version}"
            for tool, version in self.artifact.passport.toolchain.items()
            if figures.toolchain.get(tool) != version
        ]
        if changed:
            self.add("toolchain", "undecided", f"built with different tools: {', '.join(changed)}")

    def memory(self, figures: Figures, old: Artifact | None) -> None:
        """Check the peak memory of a separate process against the old artifact's, or the recorded one."""
        now = peak_memory(self.artifact)
        then = peak_memory(old) if old is not None else figures.peak_mb
        if now is None or then is None:
            self.add("memory", "skipped", "cannot be measured here, or is not in the baseline")
            return
        told = f"peak {now:.0f} MB, was {then:.0f} MB"
        over = now > TOLERANCES["memory"] * then + SLACK_MB
        self.judge("memory", [told] if over else [], told, now=now, before=then)

    def picture(self, old: Artifact) -> None:
        """Compare the new artifact's results for the old golden inputs with the old golden outputs."""
        inputs, recorded = old.golden()
        passport = self.artifact.passport
        if passport.inputs != old.passport.inputs or passport.outputs != old.passport.outputs:
            self.add("picture", "failed", "inputs or outputs differ from the baseline's")
            return
        with self.session("picture", self.artifact) as session:
            if session is None:
                return
            parity = compare_recorded(session, inputs, recorded, "the golden input of the baseline")
            problems = list(parity.problems)
            if problems and passport.weights_sha256 != old.passport.weights_sha256:
                problems.append("weights differ from the baseline")
            elif problems and passport.program_sha256 != old.passport.program_sha256:
                problems.append("the program differs from the baseline")
            if problems:
                problems.append(f"to find the module: {_bisect(self.artifact, old)}")
            self.judge(
                "picture",
                problems,
                f"same as the baseline: max abs {parity.max_abs:.2e}, "
                f"{'PSNR' if parity.measure == 'image' else 'SNR'} {parity.psnr_db:.1f} dB",
                max_abs=parity.max_abs,
                psnr_db=parity.psnr_db,
                ssim=parity.ssim,
            )

    def latency(
        self, old: Artifact, limit: float, max_seconds: float, progress: Callable[[str], None]
    ) -> None:
        """Compare the latency of old and new artifact in interleaved runs."""
        with self.session("latency", self.artifact) as session:
            if session is None:
                return
            if session.caveat:
                self.add("latency", "skipped", f"runs here on the {session.caveat}, not on the target")
                return
        if self.artifact.passport.inputs != old.passport.inputs:
            self.add("latency", "skipped", "inputs differ from the baseline's")
            return
        x, _ = self.artifact.golden()
        comparison = compare(
            opener(old, x, self.threads),
            opener(self.artifact, x, self.threads),
            limit=limit,
            max_seconds=max_seconds,
            timer=self.timer,
            progress=lambda block, now: progress(f"timing {self.name}, block {block}: {now}"),
        )
        outcome: dict[str, Outcome] = {"no slower": "passed", "slower": "failed"}
        told = {
            "no slower": f"no slower: {comparison}",
            "slower": f"slower: {comparison}",
            "undecided": f"undecided after {comparison.seconds:.0f} s on this machine: {comparison}",
        }
        state = outcome.get(comparison.verdict, "undecided")
        self.add("latency", state, told[comparison.verdict], **comparison.to_dict())

    @contextlib.contextmanager
    def session(self, check: str, artifact: Artifact) -> Iterator[Session | None]:
        """Open the artifact for a check. If it cannot run here, the check is skipped; if it is broken, the
        check fails. In both cases the block gets ``None``."""
        opened = None
        try:
            with open_session(artifact, threads=self.threads) as opened:
                yield opened
        except TargetUnavailableError as error:
            self.add(check, "skipped", str(error))
        except (CheckFailedError, ArtifactError) as error:
            self.add(check, "failed", str(error))
        if opened is None:
            yield None


def opener(artifact: Artifact, x: Mapping[str, Array], threads: int | None) -> Open:
    """Return what :func:`..timing.paired.compare` opens: a session, and a call of it on ``x``."""

    @contextlib.contextmanager
    def opened() -> Iterator[Call]:
        with open_session(artifact, threads=threads) as session:
            yield lambda: session.timed(x)

    return opened


def peak_memory(artifact: Artifact) -> float | None:
    """Return the peak memory, in 10^6 bytes, of a process that runs one tile; ``None`` if unknown, as it is
    of an artifact that takes no photo."""
    if not artifact.passport.maps_pictures:
        return None
    height, width = artifact.passport.input.size
    try:
        with tempfile.TemporaryDirectory() as scratch:
            memory = measure_memory(artifact.path, height * width / 1e6, Path(scratch), threads=1)
    except FdikpEdgeError:
        return None
    return number(memory.get("peak_mb"))


def _is_worse(kind: str, now: int, before: int) -> bool:
    return now > before if kind == OUTSIDE_DELEGATE else now < before


def _counted(kind: str, count: int, what: str = "") -> str:
    """Return an entry of a census in words: a kind is an arithmetic, or says itself what is counted."""
    return f"{count} {kind}" if " " in kind else f"{count} {what}in {kind}"


def _bisect(artifact: Artifact, old: Artifact) -> str:
    """Return what finds where two artifacts part: a command, in which a network of one's own is named."""
    if get_target(artifact.passport.target).parts is None:
        cut = ", ".join(name for name, row in all_targets().items() if row.parts is not None)
        return (
            f"artifacts of this target cannot be bisected; one of the same network for another ({cut}) can, "
            "which finds faults of the network and its lowering"
        )
    words = ["fdikp-edge", "bisect", str(artifact.path), "--against", str(old.path)]
    source = artifact.passport.source
    if source is None or source == artifact.passport.model:
        return shlex.join(words)
    return f"{shlex.join([*words, '--model', source])} (and --model-arg, --weights as to deploy)"
