"""Release gate: checks a report against fixed budgets and against a baseline.

Accuracy has fixed budgets. Size, memory and the number of operators per precision may not become worse than
the baseline's by more than :data:`.checks.TOLERANCES`. Latency is never read from a report: the old and the
new artifact are measured together on this machine (:mod:`..timing.paired`). A check that cannot run here is
listed as skipped and does not fail.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...runtime.artifact import Artifact
from ...runtime.errors import BadInputError, BaselineError, FieldError, ReportError
from ...runtime.fields import safe_path
from ...runtime.progress import Progress
from ..report.read import table
from ..timing.machine import Watch
from .baseline import Baseline, Figures, kept_artifact
from .checks import ArtifactChecks, Check, peak_memory


@dataclass(frozen=True)
class Verdict:
    """All checks. The gate fails if one of them failed; skipped and undecided checks do not count."""

    checks: Sequence[Check]
    conditions: dict[str, Any]

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.failed

    @property
    def failed(self) -> list[Check]:
        """The checks that failed."""
        return [check for check in self.checks if check.outcome == "failed"]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "ok": self.ok,
            "checks": [check.to_dict() for check in self.checks],
            "conditions": self.conditions,
        }


def built(report: Mapping[str, Any], folder: Path) -> dict[str, tuple[Artifact, Mapping[str, Any]]]:
    """Open the artifacts listed in a report in ``folder``: name -> artifact and its entry.

    Raises:
        ReportError: an entry names a path outside the folder, or the report and an artifact disagree.
        ArtifactError: an artifact is damaged.
    """
    artifacts = {}
    for place, entry in enumerate(report["artifacts"]):
        if entry.get("path") is None:
            continue
        try:
            name = safe_path(entry["path"], f"artifacts[{place}].path")
        except FieldError as error:
            raise ReportError(f"{error.where}: {error.problem}") from error
        artifact = Artifact.open(folder / name)
        passport = artifact.passport
        files = entry.get("files", passport.files)
        if passport.weights_sha256 != entry.get("weights_sha256") or passport.files != files:
            raise ReportError(f"{folder / name}: is not the artifact in the report; deploy again")
        artifacts[name] = (artifact, entry)
    if not artifacts:
        raise ReportError(f"{folder}: the report lists no artifact that was built")
    return artifacts


def refuse_failed(report: Mapping[str, Any]) -> None:
    """Check that a report can become a baseline: none of its artifacts failed, with or without files.

    Raises:
        BaselineError: some did; lists each with the reason.
    """
    failures = [
        f"{entry.get('path') or entry['target'] + ' ' + entry['precision']} "
        f"({entry.get('reason') or 'no reason recorded'})"
        for entry in report["artifacts"]
        if entry["state"] == "failed"
    ]
    if failures:
        raise BaselineError(
            f"a report with failed artifacts is no baseline: {'; '.join(failures)}; deploy again without the "
            "failure, or accept it with --allow-failed"
        )


def measure(artifacts: Mapping[str, tuple[Artifact, Mapping[str, Any]]], memory: bool) -> dict[str, Figures]:
    """Return the figures of these artifacts for a baseline.

    Raises:
        BaselineError: the report holds no parity for one of them.
    """
    return {
        name: Figures.of(artifact, table(entry.get("parity")), peak_memory(artifact) if memory else None)
        for name, (artifact, entry) in artifacts.items()
    }


def gate(
    report: Mapping[str, Any],
    folder: Path,
    baseline: Baseline,
    baseline_path: Path,
    *,
    slowdown: float = 0.05,
    max_seconds: float = 120.0,
    latency: bool = True,
    memory: bool = True,
    threads: int | None = None,
    timer: Callable[[], float] = time.perf_counter,
    progress: Progress | None = None,
) -> Verdict:
    """Compare a report with a baseline.

    Args:
        report: as :func:`..report.read.read_report` returns it.
        folder: the report's folder, with its artifacts.
        baseline: to compare with.
        baseline_path: its file; the artifacts are kept next to it.
        slowdown: the slowdown to detect, as a share (0.05 is 5 %).
        max_seconds: time limit for the latency of one artifact.
        latency: whether to measure latency.
        memory: whether to measure peak memory.
        threads: CPU threads; all available when ``None``.
        timer: clock used to time calls, in seconds.
        progress: called with (done, total, message).

    Raises:
        ReportError, ArtifactError, BaselineError: the input cannot be used.
    """
    if not 0.0 < slowdown <= 10.0:
        raise BadInputError(f"slowdown {slowdown:g}: expected a share above 0 and at most 10, such as 0.05")
    present = built(report, folder)
    say = progress or (lambda done, total, now: None)
    checks: list[Check] = []
    watch = Watch()
    names = list(dict.fromkeys([*baseline.artifacts, *present]))
    for done, name in enumerate(names):
        say(done, len(names), f"checking {name}")
        if name not in present:
            checks.append(Check(name, "present", "failed", "is in the baseline but missing from the report"))
            continue
        if name not in baseline.artifacts:
            checks.append(Check(name, "present", "undecided", "not in the baseline yet; update the baseline"))
        figures = baseline.artifacts.get(name)
        artifact, entry = present[name]
        one = ArtifactChecks(name, artifact, entry, figures, threads, checks, timer)
        one.fixed()
        if figures is None:
            continue
        one.sizes(figures)
        old = kept_artifact(baseline_path, name, figures)
        if memory:
            say(done, len(names), f"measuring the memory of {name}")
            one.memory(figures, old)
        if old is None:
            for check in ("picture", *(("latency",) if latency else ())):
                one.add(check, "skipped", "the baseline's artifact was not kept")
            continue
        one.picture(old)
        if latency:
            one.latency(old, 1 + slowdown, max_seconds, functools.partial(say, done, len(names)))
    return Verdict(checks, watch.stop())
