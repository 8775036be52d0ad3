"""Where the time of a large photo goes, how far it is from the network's own, and how much halo tiles need.

    python -m fdikp_edge.benchmarks.studies.large_photo SIZES --megapixels 24
    python -m fdikp_edge.benchmarks.studies.large_photo SIZES --halo-error photo.jpg

The first form takes a folder of several sizes, such as ``export --size for:4000x6000`` builds. It compares
two ways by turns: *before*, the smallest size with the default halo on one session with all processors; and
*auto*, the size, halo and sessions of ``run --tile auto``. The network alone is timed between them, on the
sessions of *auto*, without decoding, tiles, blending and encoding. Of several repeats the shortest counts.
Seconds of the processor are those of all threads; those of a part are those of the threads that do it. The
second form compares tiles with one run of the largest size over the same picture, away from its edge.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent import futures
from pathlib import Path
from typing import Any

import numpy as np

from ...runtime import program
from ...runtime.buckets.buckets import Buckets, Measured
from ...runtime.buckets.fastest import jobs_for, measure
from ...runtime.buckets.opened import OpenBuckets
from ...runtime.deblurrer import Deblurrer
from ...runtime.errors import BadInputError
from ...runtime.images import Photo, read_photo, write_photo
from ...runtime.photo import Array
from ...runtime.pixels import middle, psnr_db
from ...runtime.sessions import Session
from .. import script
from ..timing.memory import made_up_photo

_SPENDING = threading.Lock()
ALONE_PIXELS = 2e6
"""Of one timing of the network alone, so that it takes some seconds."""
EDGE = 128
"""Pixels left out on each side where tiles are compared with a whole picture: its own edge is there."""


class _Timed:
    """A function that adds the processor's seconds of its thread to a counter, which threads share."""

    def __init__(self, function: Callable[..., Any], name: str, spent: Counter[str]) -> None:
        self._function, self._name, self._spent = function, name, spent

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        began = time.thread_time()
        try:
            return self._function(*args, **kwargs)
        finally:
            with _SPENDING:
                self._spent[self._name] += time.thread_time() - began  # type: ignore[assignment]


def one_run(sessions: Sequence[Session], halo: int | None, source: Path) -> dict[str, Any]:
    """Return where the seconds of one photo go.

    ``decode``, ``tiles`` (conversion beside the network), ``blend`` (with rounding to the result) and
    ``encode`` are processor time; ``network`` is what else the process took; ``total`` is all of it, and
    ``clock`` how long it lasted. ``tiles_run``, ``overlap`` (pixels of all tiles by those of the photo),
    ``sessions``, ``threads`` and ``halo`` say what ran.
    """
    spent: Counter[str] = Counter()
    first, *beside = sessions
    deblurrer = Deblurrer(first, halo=halo, beside=beside)
    runs = [session.run for session in sessions]
    for session, run in zip(sessions, runs, strict=True):
        session.run = _Timed(run, "inside", spent)  # type: ignore[method-assign]
    deblurrer._runs = [_Timed(run, "tile", spent) for run in deblurrer._runs]  # type: ignore[misc]
    began, clock = time.process_time(), time.perf_counter()
    try:
        photo = _Timed(read_photo, "decode", spent)(source)
        result = _Timed(deblurrer.photo, "blend", spent)(photo)
        _Timed(write_photo, "encode", spent)(source.with_name("result.jpg"), result)
    finally:
        for session, run in zip(sessions, runs, strict=True):
            session.run = run  # type: ignore[method-assign]
    total, seconds = time.process_time() - began, time.perf_counter() - clock
    grid = deblurrer.grid(photo.height, photo.width)
    height, width = first.input.size
    parts = {name: spent[name] for name in ("decode", "blend", "encode")}
    parts["tiles"] = spent["tile"] - spent["inside"]
    return {
        "tile": f"{height}x{width}",
        "halo": deblurrer.halo,
        "sessions": len(sessions),
        "threads": first.threads,
        "tiles_run": grid.tiles,
        "overlap": grid.tiles * height * width / (photo.height * photo.width),
        **parts,
        "network": total - sum(parts.values()),
        "total": total,
        "clock": seconds,
    }


def network_alone(sessions: Sequence[Session]) -> dict[str, float]:
    """Return the nanoseconds a pixel of the network, all sessions running, by clock and by processor."""
    contract = sessions[0].input
    height, width = contract.size
    low, high = contract.limits
    random = np.random.default_rng(0).random(contract.shape, np.float32)
    tile: Array = (random * (high - low) + low).astype(contract.dtype)
    each = max(2, round(ALONE_PIXELS / (height * width * len(sessions))))

    def run(session: Session) -> None:
        for _ in range(each):
            session.run(tile)

    with futures.ThreadPoolExecutor(len(sessions)) as threads:
        list(threads.map(lambda session: session.run(tile), sessions))  # prepares memory
        began, clock = time.process_time(), time.perf_counter()
        list(threads.map(run, sessions))
        total, seconds = time.process_time() - began, time.perf_counter() - clock
    pixels = each * len(sessions) * height * width
    return {"clock": 1e9 * seconds / pixels, "total": 1e9 * total / pixels}


def compare(folder: Path, megapixels: float, repeats: int, place: Path) -> dict[str, Any]:
    """Return the shortest runs of a photo before and with ``--tile auto``, and the network alone by size.

    ``alone`` holds nanoseconds a pixel by size; ``pixels`` are those of the photo.
    """
    source = place / "photo.jpg"
    write_photo(source, made_up_photo(megapixels))
    photo = read_photo(source)
    buckets = Buckets.open(folder)
    jobs = jobs_for(buckets, None, None, "auto")
    rows: dict[str, list[dict[str, Any]]] = {"before": [], "auto": []}
    alone: dict[str, list[dict[str, float]]] = {}
    with OpenBuckets(buckets) as before, OpenBuckets(buckets, jobs=jobs) as now:
        measured = measure(now, None)
        smallest = min(buckets.artifacts, key=lambda one: one.passport.input.size)
        auto = buckets.for_photo(photo.height, photo.width, None, measured)
        halo = Measured.halo(auto.passport.input.size, None)
        for repeat in range(repeats):
            rows["before"].append(one_run([before.session(smallest)], None, source))
            rows["auto"].append(one_run(now.sessions(auto, jobs), halo, source))
            for one in buckets.artifacts:
                name = "x".join(map(str, one.passport.input.size))
                alone.setdefault(name, []).append(network_alone(now.sessions(one, jobs)))
            clocks = ", ".join(f"{name} {row[-1]['clock']:.1f} s" for name, row in rows.items())
            script.note(f"repeat {repeat + 1} of {repeats}: {clocks}")
    return {
        "rows": [{"way": name, **_shortest(row)} for name, row in rows.items()],
        "alone": {name: _shortest(row) for name, row in alone.items()},
        "pixels": photo.height * photo.width,
        "repeats": repeats,
    }


def _shortest(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the row with the least processor time, with the shortest clock of all."""
    least = min(rows, key=lambda row: row["total"])
    return {**least, "clock": min(row["clock"] for row in rows)}


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
            *(row["way"], row["tile"], row["halo"], f"{row['sessions']}x{row['threads']}", row["tiles_run"]),
            f"{row['overlap']:.2f}",
            *(f"{row[part]:.2f}" for part in parts),
        )
        for row in result["rows"]
    ]
    before, auto = result["rows"]
    kinds = {"total": "processor time", "clock": "the clock"}
    best = {kind: min(one[kind] for one in result["alone"].values()) for kind in kinds}
    seconds = {kind: best[kind] * result["pixels"] / 1e9 for kind in kinds}
    each = ", ".join(f"{size} {one['clock']:.0f}" for size, one in result["alone"].items())
    return "\n".join(
        (
            f"{result['pixels'] / 1e6:.1f} megapixels, shortest of {result['repeats']}; seconds of the "
            "processor, and of the clock",
            script.table(
                ("way", "tile", "halo", "sessions x threads", "tiles", "overlap", *parts),
                rows,
            ),
            f"network alone, nanoseconds a pixel by the clock: {each}",
            "auto, by the network alone at its best size: "
            + ", ".join(f"{auto[k] / seconds[k]:.2f} by {kinds[k]} ({seconds[k]:.1f} s)" for k in kinds),
            "before, by auto: " + ", ".join(f"{before[k] / auto[k]:.2f} by {kinds[k]}" for k in kinds),
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
    parser.add_argument("--repeats", type=int, default=3, help="of each way, by turns (default: 3)")
    parser.add_argument("--halo-error", type=Path, action="append", metavar="PHOTO", help="repeatable")
    parser.add_argument("--halo", type=int, action="append", help="repeatable (default: 8, 16, 32)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    result: dict[str, Any]
    if given.halo_error:
        result = {"halo_rows": halo_error(given.sizes, given.halo_error, given.halo or (8, 16, 32))}
    else:
        with tempfile.TemporaryDirectory() as folder:
            result = compare(given.sizes, given.megapixels, max(1, given.repeats), Path(folder))
    script.finish(result, given.json, show)


if __name__ == "__main__":
    program.run(main)
