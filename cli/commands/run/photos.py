"""Photos on the command line: a few, with a row for each, or folders of them, with a record and a summary."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import show
from ...guard import complain
from . import album

if TYPE_CHECKING:
    from ....runtime.deblur import FileResult, Progress

DEFAULT_QUALITY = 95


@dataclasses.dataclass(frozen=True)
class PhotoRun:
    """What the command line asks of photos, wherever they run; ``None`` where it asks nothing."""

    artifact: Path
    out: Path
    recursive: bool
    suffix: str | None
    halo: int | None
    tile: str
    quality: int | None
    megapixels: int | None
    overwrite: bool
    threads: int | None
    jobs: int | None
    json: bool

    def work_options(self) -> dict[str, Any]:
        """Return what every function that runs photos takes."""
        from ....runtime.photo import DEFAULT_MAX_PIXELS

        return {
            "overwrite": self.overwrite,
            "suffix": self.suffix,
            "halo": self.halo,
            "quality": self.quality or DEFAULT_QUALITY,
            "max_pixels": DEFAULT_MAX_PIXELS if self.megapixels is None else self.megapixels * 1_000_000,
        }


def run(images: list[Path], asked: PhotoRun) -> int:
    """Run photos and folders of photos, and return the exit code."""
    if (asked.jobs is not None and len(images) > 1) or any(path.is_dir() for path in images):
        return _run_album(images, asked)
    return _run_files(images, asked)


def progress_seconds() -> float:
    """Return how often the progress of a folder is shown."""
    return 0.2 if sys.stderr.isatty() else album.LINE_SECONDS


def _run_album(images: list[Path], asked: PhotoRun) -> int:
    from ....runtime.albums.album import run_album
    from ....runtime.buckets.buckets import Buckets

    with show.working("opening the artifact") as step:
        ran = run_album(
            images,
            Buckets.open(asked.artifact),
            asked.out,
            jobs=asked.jobs,
            threads=asked.threads,
            recursive=asked.recursive,
            tile=asked.tile,
            progress=album.told(step, every=progress_seconds()),
            **asked.work_options(),
        )
    return album.finish(ran, asked.artifact, asked.json)


def _run_files(images: list[Path], asked: PhotoRun) -> int:
    with show.working("opening the artifact") as step:
        from ....runtime.buckets.buckets import Buckets
        from ....runtime.buckets.fastest import jobs_for
        from ....runtime.buckets.opened import OpenBuckets
        from ....runtime.deblur import deblur_files

        buckets = Buckets.open(asked.artifact)
        jobs = jobs_for(buckets, asked.jobs, asked.threads, asked.tile)
        with OpenBuckets(buckets, threads=asked.threads, jobs=jobs) as opened:
            results = deblur_files(
                images,
                opened,
                asked.out,
                recursive=asked.recursive,
                tile=asked.tile,
                progress=lambda event: step(event.tile, event.tiles, _now(event)),
                **asked.work_options(),
            )
            ran, remark = opened.describe(), opened.any_session().remark
    if remark:
        complain(f"{asked.artifact}: {remark}", kind="note")
    for result in results:
        if result.error is not None:
            complain(str(result.error))
        for note in result.notes:
            complain(f"{result.source}: {note}", kind="note")
    if asked.json:
        show.as_json({"session": ran, "photos": [_plain(result) for result in results]})
    else:
        several = any(result.bucket for result in results)
        show.table(
            album.ran_with(ran),
            ("photo", "result", "size#", *(("bucket#",) if several else ()), "tiles#", "seconds#"),
            [_row(result, several) for result in results],
        )
    return max((result.error.exit_code for result in results if result.error is not None), default=0)


def _now(event: Progress) -> str:
    name = event.source.name if event.source else "photo"
    return f"{name} ({event.photo + 1} of {event.photos})" if event.photos > 1 else name


def _plain(result: FileResult) -> dict[str, Any]:
    done = result.error is None
    return {
        "source": str(result.source),
        "output": str(result.output) if done else None,
        "error": None if done else str(result.error),
        "size": [result.height, result.width] if done else None,
        **({"bucket": result.bucket} if result.bucket else {}),
        "tiles": result.tiles,
        "seconds": round(result.seconds, 3),
        "notes": list(result.notes),
    }


def _row(result: FileResult, several: bool) -> tuple[str, ...]:
    bucket = (result.bucket,) if several else ()
    if result.error is not None:
        return (str(result.source), "failed", "", *bucket, "", "")
    size = f"{result.height}x{result.width}"
    return (
        str(result.source),
        str(result.output),
        size,
        *bucket,
        str(result.tiles),
        f"{result.seconds:.2f}",
    )
