"""Where the time of a large photo goes, and how much halo its tiles need.

    python -m fdikp_edge.benchmarks.studies.large_photo ARTIFACT --megapixels 24
    python -m fdikp_edge.benchmarks.studies.large_photo SIZES --halo-error photo.jpg

The first form takes a folder of several sizes. It compares the smallest size with the default halo against
the size that ``run --tile auto`` picks. Seconds are those of the processor (of the thread that did the work;
one thread runs the network), so that other programs on the machine change them little; the seconds of the
clock are given beside them. The second form compares tiles with one run of the largest size over the same
picture, away from its edge.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...runtime import program
from ...runtime.buckets.buckets import Buckets, Measured
from ...runtime.buckets.fastest import measure
from ...runtime.buckets.opened import OpenBuckets
from ...runtime.deblurrer import Deblurrer
from ...runtime.errors import BadInputError
from ...runtime.images import Photo, read_photo, write_photo
from ...runtime.photo import Array
from ...runtime.pixels import middle, psnr_db
from ...runtime.sessions import Session
from .. import script
from ..timing.memory import made_up_photo

EDGE = 128
"""Pixels left out on each side where tiles are compared with a whole picture: its own edge is there."""


def split(session: Session, halo: int | None, source: Path) -> dict[str, Any]:
    """Return where the processor's seconds of one photo go.

    ``decode``, ``network``, ``tiles`` (conversion beside the network), ``blend`` (with rounding to the
    result), ``encode``, ``total`` (all threads of the process), ``clock``; and ``tiles_run``, ``overlap``
    (pixels of all tiles by those of the photo) and ``halo``.
    """
    spent: Counter[str] = Counter()
    deblurrer = Deblurrer(session, halo=halo)
    run = session.run
    session.run = _timed(run, "network", spent)  # type: ignore[method-assign]
    deblurrer._run = _timed(  # type: ignore[assignment]
        deblurrer._run, "tile", spent, tile=deblurrer._run.tile, scale=deblurrer._run.scale
    )
    began, clock = time.process_time(), time.perf_counter()
    try:
        photo = _timed(read_photo, "decode", spent)(source)
        result = _timed(deblurrer.photo, "blend", spent)(photo)
        _timed(write_photo, "encode", spent)(source.with_name("result.jpg"), result)
    finally:
        session.run = run  # type: ignore[method-assign]
    grid = deblurrer.grid(photo.height, photo.width)
    height, width = session.input.size
    return {
        "artifact": f"{height}x{width}",
        "halo": deblurrer.halo,
        "tiles_run": grid.tiles,
        "overlap": grid.tiles * height * width / (photo.height * photo.width),
        "decode": spent["decode"],
        "network": spent["network"],
        "tiles": spent["tile"] - spent["network"],
        "blend": spent["blend"],
        "encode": spent["encode"],
        "total": time.process_time() - began,
        "clock": time.perf_counter() - clock,
    }


class _timed:
    """A function that adds the seconds of its thread to a counter, with attributes of what it stands for."""

    def __init__(self, function: Callable[..., Any], name: str, spent: Counter[str], **others: Any) -> None:
        self._function, self._name, self._spent = function, name, spent
        self.__dict__.update(others)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        began = time.thread_time()
        try:
            return self._function(*args, **kwargs)
        finally:
            self._spent[self._name] += time.thread_time() - began  # type: ignore[assignment]


def compare(folder: Path, megapixels: float, place: Path) -> dict[str, Any]:
    """Return the split of a photo at the smallest size with the default halo, and as ``--tile auto`` runs it.

    ``best`` is the network's own seconds for the pixels of the photo at the size with the least time a pixel.
    """
    source = place / "photo.jpg"
    write_photo(source, made_up_photo(megapixels))
    with OpenBuckets(Buckets.open(folder), threads=1) as opened:
        measured = measure(opened, None)
        photo = read_photo(source)
        auto = opened.buckets.for_photo(photo.height, photo.width, None, measured)
        first = min(opened.buckets.artifacts, key=lambda one: one.passport.input.size)
        rows = [
            split(opened.session(first), None, source),
            split(opened.session(auto), Measured.halo(auto.passport.input.size, None), source),
        ]
        pixels = photo.height * photo.width
        each = [row["network"] / row["overlap"] for row in rows]
        times = {
            "x".join(map(str, one.passport.input.size)): 1e6
            * measured.milliseconds[one.path]
            / (one.passport.input.size[0] * one.passport.input.size[1])
            for one in opened.buckets.artifacts
            if one.path in measured.milliseconds
        }
    return {"rows": rows, "best": min(each), "pixels": pixels, "ns_a_pixel": times}


def halo_error(folder: Path, photos: Sequence[Path], halos: Sequence[int]) -> list[dict[str, Any]]:
    """Return how far tiles of each smaller size are from one run of the largest, by halo.

    Raises:
        BadInputError: one size alone.
    """
    rows = []
    with OpenBuckets(Buckets.open(folder), threads=1) as opened:
        sizes = sorted(opened.buckets.artifacts, key=lambda one: one.passport.input.size)
        if len(sizes) < 2:
            raise BadInputError(f"{folder}: holds one size; the largest of several is what tiles are held to")
        inside = (slice(EDGE, -EDGE), slice(EDGE, -EDGE))
        for path in photos:
            picture = Photo(middle(read_photo(path).to_8bit().pixels, sizes[-1].passport.input.size))
            whole = _result(opened.session(sizes[-1]), None, picture)[inside]
            for artifact in sizes[:-1]:
                for halo in halos:
                    tiled = _result(opened.session(artifact), halo, picture)[inside]
                    rows.append(
                        {
                            "photo": path.name,
                            "tile": artifact.path.name,
                            "halo": halo,
                            "psnr_db": psnr_db(tiled, whole),
                            "max_abs": float(np.abs(tiled - whole).max()),
                        }
                    )
                    script.note(f"{path.name} {artifact.path.name} halo {halo}: {rows[-1]['psnr_db']:.2f} dB")
    return rows


def _result(session: Session, halo: int | None, photo: Photo) -> Array:
    deblurrer = Deblurrer(session, halo=halo)
    return deblurrer._whole(photo, deblurrer.grid(photo.height, photo.width))


def show(result: dict[str, Any]) -> str:
    """Return a result as text."""
    if "halo_rows" in result:
        columns = ("photo", "tile", "halo", "PSNR dB", "max")
        return script.table(
            columns,
            [
                (row["photo"], row["tile"], row["halo"], f"{row['psnr_db']:.2f}", f"{row['max_abs']:.4f}")
                for row in result["halo_rows"]
            ],
        )
    parts = ("decode", "network", "tiles", "blend", "encode", "total", "clock")
    rows = [
        (
            row["artifact"],
            row["halo"],
            row["tiles_run"],
            f"{row['overlap']:.2f}",
            *(f"{row[part]:.1f}" for part in parts),
            f"{row['total'] / result['best']:.2f}",
        )
        for row in result["rows"]
    ]
    before, after = result["rows"]
    ratios = [before[clock] / after[clock] for clock in ("total", "clock")]
    each = ", ".join(f"{size} {ns:.0f}" for size, ns in result["ns_a_pixel"].items())
    return "\n".join(
        (
            f"{result['pixels'] / 1e6:.1f} megapixels; seconds of the processor, one thread for the network",
            script.table(("tile", "halo", "tiles", "overlap", *parts, "by best"), rows),
            f"network alone at the best size: {result['best']:.1f} s for the photo's pixels",
            f"second row against first: {ratios[0]:.2f} times as fast by processor time, {ratios[1]:.2f} by "
            "the clock",
            f"nanoseconds a pixel by the clock when --tile auto measured: {each}",
        )
    )


def main() -> None:
    """Read the command line and print the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m fdikp_edge.benchmarks.studies.large_photo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sizes", type=Path, help="folder that was built with several --size")
    parser.add_argument("--megapixels", type=float, default=24.0, help="of the made-up photo (default: 24)")
    parser.add_argument("--halo-error", type=Path, action="append", metavar="PHOTO", help="repeatable")
    parser.add_argument("--halo", type=int, action="append", help="repeatable (default: 8, 16, 32)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    result: dict[str, Any]
    if given.halo_error:
        result = {"halo_rows": halo_error(given.sizes, given.halo_error, given.halo or (8, 16, 32))}
    else:
        with tempfile.TemporaryDirectory() as folder:
            result = compare(given.sizes, given.megapixels, Path(folder))
    script.finish(result, given.json, show)


if __name__ == "__main__":
    program.run(main)
