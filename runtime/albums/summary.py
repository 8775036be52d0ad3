"""What became of a folder of photos, in figures."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from pathlib import Path
from typing import Any

SHOWN = 20
"""Reasons and notes that a summary holds; all are in the manifest."""


@dataclasses.dataclass
class Album:
    """What became of a folder of photos.

    Attributes:
        photos: how many there are.
        done, failed: how many this run finished, and how many it could not.
        skipped: how many an earlier run had finished, with the same photo, artifact and settings.
        failed_before: how many an earlier run had refused, and would be refused again.
        passed_over: other files in the folders, by suffix.
        buckets: photos done by bucket, where there are several.
        pixels: of the photos done.
        seconds: of this run, without opening the artifact.
        failures: source, reason and exit code of the first photos that failed.
        exit_code: the largest of all failures; 0 if there are none.
        notes: the first notes on photos.
        manifest: ``results.jsonl``, or its address.
        session: what ran, as :meth:`..sessions.base.Session.describe` says it.
        remark: what is wrong with the arithmetic here, if anything.
    """

    photos: int = 0
    done: int = 0
    failed: int = 0
    skipped: int = 0
    failed_before: int = 0
    passed_over: Counter[str] = dataclasses.field(default_factory=Counter)
    buckets: Counter[str] = dataclasses.field(default_factory=Counter)
    pixels: int = 0
    seconds: float = 0.0
    failures: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    exit_code: int = 0
    notes: list[str] = dataclasses.field(default_factory=list)
    manifest: Path | str = ""
    session: dict[str, Any] = dataclasses.field(default_factory=dict)
    remark: str = ""

    @property
    def finished(self) -> int:
        """Photos whose fate is known."""
        return self.done + self.failed + self.skipped + self.failed_before

    @property
    def rate(self) -> float:
        """Photos per second of this run."""
        return (self.done + self.failed) / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float:
        """At this rate; infinite before the first photo is done."""
        return (self.photos - self.finished) / self.rate if self.rate else math.inf

    def add_failure(self, source: str, reason: str, code: int) -> None:
        """Keep a reason, if there is room."""
        self.exit_code = max(self.exit_code, code)
        if len(self.failures) < SHOWN:
            self.failures.append((source, reason))
