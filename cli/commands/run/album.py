"""Folders of photos on the command line: one line of progress, and a summary at the end."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ... import show
from ...guard import complain

if TYPE_CHECKING:
    from ....runtime.albums.album import Album

LINE_SECONDS = 10.0
"""Between two lines of progress where there is no terminal."""


def told(step: show.Step, *, every: float) -> Callable[[Album], None]:
    """Return a callback that shows a run's progress, at most once in ``every`` seconds and at the end."""
    last = -math.inf

    def tell(album: Album) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < every and album.finished < album.photos:
            return
        last = now
        step(album.finished, album.photos, progress_line(album))

    return tell


def progress_line(album: Album) -> str:
    """Return how fast a run is and how long it will still take, in words."""
    if not album.rate:
        return (
            f"{album.finished} of {album.photos} photos were finished before" if album.finished else "photos"
        )
    rate = f"{album.rate:.1f} photos/s" if album.rate >= 1 else f"{1 / album.rate:.1f} s a photo"
    failed = f", {album.failed} failed" if album.failed else ""
    return f"{rate}, {duration(album.seconds_left)} left{failed}"


def duration(seconds: float) -> str:
    """Return ``1:02:03``, or ``2:03`` below an hour."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def finish(album: Album, artifact: object, json: bool) -> int:
    """Print the failures and notes on stderr and the summary on stdout, and return the exit code."""
    if album.remark:
        complain(f"{artifact}: {album.remark}", kind="note")
    for _, reason in album.failures:
        complain(reason)
    failed = album.failed + album.failed_before
    if failed > len(album.failures):
        complain(f"{failed - len(album.failures)} more photos failed; {album.manifest} has the reasons")
    for note in album.notes:
        complain(note, kind="note")
    if album.passed_over:
        complain(f"not photos, passed over: {kinds(album.passed_over)}", kind="note")
    if json:
        show.as_json({"session": album.session or None, "summary": summary(album)})
        return album.exit_code
    title = "Nothing left to do" if not album.done + album.failed else "Run on a cluster"
    if album.session:
        title = ran_with(album.session)
    rows = [("results", str(album.done))]
    rows += [(f"  with {name}", str(count)) for name, count in sorted(album.buckets.items())]
    if album.skipped:
        rows.append(("finished before", str(album.skipped)))
    rows.append(("failed", str(album.failed)))
    if album.failed_before:
        rows.append(("failed before", str(album.failed_before)))
    if album.rate:
        rows.append(("time", f"{duration(album.seconds)} ({album.rate:.2f} photos/s)"))
    rows.append(("manifest", str(album.manifest)))
    show.line(title)
    show.facts("", rows)
    return album.exit_code


def ran_with(session: dict[str, Any]) -> str:
    """Return what ran, in words; of several sessions, with their number."""
    several = f" in each of {session['sessions']} sessions" if "sessions" in session else ""
    word = "thread" if session["threads"] == 1 else "threads"
    return "Run with {runtime} {version}, {threads} {word}{several}, {arithmetic}".format(
        word=word, several=several, **session
    )


def kinds(counts: Counter[str]) -> str:
    """Return ``3 .heic, 1 without a suffix``, the most frequent first."""
    return ", ".join(f"{count} {suffix or 'without a suffix'}" for suffix, count in counts.most_common(12))


def summary(album: Album) -> dict[str, Any]:
    """Return the counts as plain values."""
    return {
        "photos": album.photos,
        "done": album.done,
        "finished_before": album.skipped,
        "failed": album.failed,
        "failed_before": album.failed_before,
        "passed_over": dict(album.passed_over),
        "buckets": dict(album.buckets),
        "pixels": album.pixels,
        "seconds": round(album.seconds, 3),
        "photos_per_second": round(album.rate, 4),
        "failures": [{"source": source, "error": reason} for source, reason in album.failures],
        "manifest": str(album.manifest),
    }
