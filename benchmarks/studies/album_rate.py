"""Photos per second of a folder: one after the other as before folder runs existed, and with ``run --jobs``.

    python -m fdikp_edge.benchmarks.studies.album_rate ARTIFACT... --photos 8 --megapixels 0.5

Each way runs the same made-up JPEG files, by turns, so that all of them see the same machine. Of several
repeats the shortest counts, by the clock. *before* reads, runs and writes each photo in turn, on one session
with all processors.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...runtime import program
from ...runtime.albums.album import run_album
from ...runtime.batch import deblur_files
from ...runtime.buckets.buckets import Buckets
from ...runtime.buckets.folders import shown_name
from ...runtime.images import write_photo
from .. import script
from ..timing.memory import made_up_photo

JOBS = (1, 2)


def make_photos(folder: Path, count: int, megapixels: float) -> None:
    """Write ``count`` different JPEG files."""
    photo = made_up_photo(megapixels)
    for number in range(count):
        shifted = np.roll(photo.pixels, 37 * number, axis=1)
        write_photo(folder / f"{number:03}.jpg", dataclasses.replace(photo, pixels=shifted))


def rates(artifacts: Sequence[Path], count: int, megapixels: float, repeats: int) -> list[dict[str, Any]]:
    """Return a row for each artifact and way: ``photos_per_second``, and ``processor`` seconds a photo.

    Opening the artifact is timed too: it is part of every run.
    """
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        photos = Path(name) / "in"
        photos.mkdir()
        make_photos(photos, count, megapixels)
        for artifact in artifacts:
            buckets, title = Buckets.open(artifact), shown_name(artifact)
            ways: dict[str, Callable[[Path], Any]] = {"before": partial(deblur_files, [photos], artifact)}
            for jobs in JOBS:
                ways[f"--jobs {jobs}"] = partial(run_album, [photos], buckets, jobs=jobs)
            best: dict[str, tuple[float, float]] = {}
            for repeat in range(repeats):
                for way, run in ways.items():
                    out = Path(name) / f"{len(rows)}-{way}-{repeat}"
                    taken = _timed(run, out)
                    best[way] = min(best.get(way, taken), taken)
                    script.note(f"{title} {way}: {count / taken[0]:.2f} photos/s")
            rows += [
                {
                    "artifact": title,
                    "way": way,
                    "photos_per_second": count / seconds,
                    "processor": processor / count,
                    "faster": best["before"][0] / seconds,
                }
                for way, (seconds, processor) in best.items()
            ]
    return rows


def _timed(run: Callable[[Path], Any], out: Path) -> tuple[float, float]:
    """Return the seconds of a run by the clock and by processor."""
    began, processor = time.perf_counter(), time.process_time()
    run(out)
    return time.perf_counter() - began, time.process_time() - processor


def show(result: dict[str, Any]) -> str:
    """Return the rows as text."""
    return script.table(
        ("artifact", "way", "photos/s", "by before", "processor s a photo"),
        [
            (
                row["artifact"],
                row["way"],
                f"{row['photos_per_second']:.2f}",
                f"{row['faster']:.2f}",
                f"{row['processor']:.2f}",
            )
            for row in result["rows"]
        ],
    )


def main() -> None:
    """Read the command line and print the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m fdikp_edge.benchmarks.studies.album_rate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("artifacts", type=Path, nargs="+", metavar="ARTIFACT")
    parser.add_argument("--photos", type=int, default=8, help="number of photos (default: 8)")
    parser.add_argument("--megapixels", type=float, default=0.5, help="of each photo (default: 0.5)")
    parser.add_argument("--repeats", type=int, default=3, help="of each way, by turns (default: 3)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    rows = rates(given.artifacts, max(1, given.photos), given.megapixels, max(1, given.repeats))
    script.finish({"rows": rows}, given.json, show)


if __name__ == "__main__":
    program.run(main)
