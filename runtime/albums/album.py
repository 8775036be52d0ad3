"""Folders of photos through a network: several sessions at once, resumed where an earlier run ended."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..batch import Deblurrers
from ..buckets.buckets import Buckets, Measured
from ..buckets.fastest import jobs_for, measure
from ..buckets.opened import OpenBuckets
from ..deblurrer import Progress
from ..errors import (
    ArtifactError,
    BadInputError,
    FdikpEdgeError,
    ImageError,
    OutputError,
    OutputExistsError,
    TargetUnavailableError,
)
from ..files import making_folder
from ..images import read_photo, write_photo
from ..photo import DEFAULT_MAX_PIXELS, Photo
from ..sessions import available_threads
from .manifest import Manifest, Record, Stamp, artifact_digest
from .pipeline import Stopped, overlapped
from .plan import Jobs, refuse_existing, settle
from .record import is_final
from .summary import SHOWN, Album

__all__ = ["MAX_JOBS", "Album", "run_album"]

MAX_JOBS = 256


@dataclasses.dataclass(frozen=True)
class _Piece:
    """A photo on its way; ``error`` ends it."""

    source: Path
    output: Path
    photo: Photo | None = None
    stamp: Stamp | None = None
    error: FdikpEdgeError | None = None
    seconds: float = 0.0
    artifact: str = ""
    bucket: str = ""
    tiles: int = 0
    size: tuple[int, int] = (0, 0)
    notes: tuple[str, ...] = ()


def run_album(
    inputs: Iterable[str | Path],
    buckets: Buckets,
    out: str | Path,
    *,
    jobs: int | None = None,
    threads: int | None = None,
    overwrite: bool = False,
    recursive: bool = False,
    suffix: str | None = None,
    halo: int | None = None,
    quality: int = 95,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    tile: str = "passport",
    progress: Callable[[Album], None] | None = None,
) -> Album:
    """Run folders of photos through a network; what an earlier run into ``out`` finished is skipped.

    A result is finished if the photo, the artifact and the settings are those that it was made with, and
    nobody has changed it. If only it is unchanged, it is replaced. See :mod:`.manifest` for the record.

    Args:
        inputs: photos and folders of photos.
        buckets: the artifact, or several sizes of it.
        out: the output folder.
        jobs: sessions that run at the same time, one for each photo, and for the tiles of a photo if there
            are fewer photos. Photos are decoded and written beside them. When ``None``, one; with ``tile``
            ``auto`` measured.
        threads: of each session; when ``None``, an equal share of the processors.
        overwrite: do everything again, and replace files that exist.
        recursive, suffix, halo, quality, max_pixels, tile: as :func:`fdikp_edge.runtime.batch.deblur_files`.
        progress: called at the beginning and after each photo.

    Raises:
        BadInputError: no photos, a wrong number, or a network that does not map photos to photos.
        OutputError: two photos would have one result, a result would replace a file that no run wrote, or
            the manifest cannot be used. Nothing was written.
        ArtifactError, TargetUnavailableError: the artifact or a bucket cannot be opened.
    """
    out = Path(out)
    if jobs is not None and not 1 <= jobs <= MAX_JOBS:
        raise BadInputError(f"jobs: expected 1 to {MAX_JOBS}, got {jobs}")
    if not 1 <= quality <= 100:
        raise BadInputError(f"quality {quality}: expected 1 to 100")
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: is a file, not a folder")
    planned, passed_over = settle(inputs, out, overwrite=overwrite, recursive=recursive, suffix=suffix)
    buckets.for_photo(1, 1, halo)  # refuses a wrong network or halo before anything is opened
    settings: dict[str, Any] = {"halo": halo, "quality": quality}
    if tile == "auto":
        settings["tile"] = tile
    digests = {artifact.path: artifact_digest(artifact) for artifact in buckets.artifacts}
    album = Album(photos=len(planned), passed_over=passed_over)
    with making_folder(out), Manifest(out) as manifest, contextlib.ExitStack() as stack:
        album.manifest = manifest.path
        work = _remaining(
            planned, out, manifest, set(digests.values()), settings, max_pixels, album, overwrite
        )
        fresh = frozenset(output for _, output in work if not (overwrite or os.path.lexists(output)))
        if progress is not None:
            progress(album)
        if not work:
            return album
        jobs = jobs_for(buckets, jobs, threads, tile)
        threads = threads or max(1, available_threads() // jobs)
        at_once = min(jobs, len(work))
        opened = [
            stack.enter_context(OpenBuckets(buckets, threads=threads, jobs=jobs // at_once))
            for _ in range(at_once)
        ]
        stop = threading.Event()
        measured = measure(opened[0], halo) if tile == "auto" else None
        workers = [_Worker(one, halo, measured, digests, stop) for one in opened]
        writer = _Writer(out, manifest, settings, max_pixels, quality, fresh)
        began = time.perf_counter()
        for piece in overlapped(work, _Reader(max_pixels), workers, writer, stop):
            album.seconds = time.perf_counter() - began
            _count(album, piece)
            if progress is not None:
                progress(album)
        album.session, album.remark = opened[0].describe(), opened[0].any_session().remark
        if at_once > 1:
            album.session["sessions"] = jobs // at_once * at_once
    return album


def _count(album: Album, piece: _Piece) -> None:
    if piece.error is not None:
        album.failed += 1
        album.add_failure(str(piece.source), str(piece.error), piece.error.exit_code)
        return
    album.done += 1
    album.pixels += piece.size[0] * piece.size[1]
    if piece.bucket:
        album.buckets[piece.bucket] += 1
    album.notes += [f"{piece.source}: {note}" for note in piece.notes][: SHOWN - len(album.notes)]


def _key(output: Path, out: Path) -> str:
    return output.relative_to(out).as_posix()


def _remaining(
    planned: Jobs,
    out: Path,
    manifest: Manifest,
    artifacts: set[str],
    settings: dict[str, Any],
    max_pixels: int,
    album: Album,
    overwrite: bool,
) -> Jobs:
    """Return what is to be done, and count what is not; raises :class:`OutputError` before any work."""
    remaining: Jobs = []
    for source, output in planned:
        key = _key(output, out)
        last = None if overwrite else manifest.last(key)
        if last is not None and last.stamp is not None and last.stamp.fits(source):
            if last.result is None:
                if last.final and last.settings == {**settings, "max_pixels": max_pixels}:
                    album.failed_before += 1
                    album.add_failure(str(source), last.reason, ImageError.exit_code)
                    continue
            elif last.settings == settings and last.artifact in artifacts and last.result.fits(output):
                album.skipped += 1
                continue
        if not overwrite and not manifest.wrote(key, output):
            if os.path.lexists(output) and manifest.results(key):
                raise OutputExistsError(
                    f"{output}: was changed since a run wrote it; move it away to keep it, delete it to have "
                    "it made again, or ask to overwrite all results"
                )
            refuse_existing(output)
        remaining.append((source, output))
    return remaining


class _Reader:
    """The first stage: a photo and what tells it from another."""

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels

    def __call__(self, job: tuple[Path, Path]) -> _Piece:
        began = time.perf_counter()
        source, output = job
        stamp: Stamp | None = None
        photo: Photo | None = None
        error: FdikpEdgeError | None = None
        before = _state(source)
        try:
            photo = read_photo(source, max_pixels=self._max_pixels)
        except FdikpEdgeError as problem:
            error = problem
        with contextlib.suppress(OSError, ValueError):
            if source.is_file():  # never a pipe
                stamp = Stamp.of(source)
        if photo is not None and before != _state(source):
            # The stamp is that of the new photo, and the result would be the old one's.
            photo, stamp = None, None
            error = ImageError(f"{source}: was changed while it was read; run it again")
        return _Piece(source, output, photo, stamp, error, time.perf_counter() - began)


def _state(file: Path) -> tuple[int, int] | None:
    """Return what changes when a file is written: size and time; ``None`` if it cannot be looked up."""
    try:
        info = file.stat()
    except (OSError, ValueError):
        return None
    return info.st_size, info.st_mtime_ns


class _Worker:
    """The second stage: one session, or one of each bucket."""

    def __init__(
        self,
        opened: OpenBuckets,
        halo: int | None,
        measured: Measured | None,
        digests: dict[Path, str],
        stop: threading.Event,
    ) -> None:
        self._deblurrers = Deblurrers(opened, halo, measured)
        self._digests = digests
        self._stop = stop

    def __call__(self, piece: _Piece) -> _Piece:
        if piece.photo is None:
            return piece
        began = time.perf_counter()
        error, photo, tiles, artifact, bucket = None, piece.photo, 0, "", ""
        try:
            deblurrer, bucket = self._deblurrers.for_size(photo.height, photo.width)
            artifact = self._digests[deblurrer.session.artifact.path]
            tiles = deblurrer.grid(photo.height, photo.width).tiles
            deblurrer.progress = self._leave
            photo = deblurrer.photo(photo)
        except (ArtifactError, TargetUnavailableError):
            raise  # a bucket that cannot be opened: the next photo would not fare better
        except FdikpEdgeError as problem:
            error = problem
        return dataclasses.replace(
            piece,
            photo=photo,
            error=error,
            seconds=piece.seconds + time.perf_counter() - began,
            artifact=artifact,
            bucket=bucket,
            tiles=tiles,
            size=(piece.photo.height, piece.photo.width),
        )

    def _leave(self, _: Progress) -> None:
        if self._stop.is_set():
            raise Stopped


class _Writer:
    """The third stage: the result, and the line that records it."""

    def __init__(
        self,
        out: Path,
        manifest: Manifest,
        settings: dict[str, Any],
        max_pixels: int,
        quality: int,
        fresh: frozenset[Path],
    ) -> None:
        self._out, self._manifest, self._fresh = out, manifest, fresh
        self._settings, self._max_pixels, self._quality = settings, max_pixels, quality

    def __call__(self, piece: _Piece) -> _Piece:
        began = time.perf_counter()

        def record(temporary: Path, notes: list[str]) -> None:
            nonlocal piece
            assert piece.photo is not None
            seconds = piece.seconds + time.perf_counter() - began
            piece = dataclasses.replace(piece, notes=(*piece.photo.notes, *notes), seconds=seconds)
            self._manifest.append(self._record(piece, Stamp.of(temporary)))

        if piece.error is None and piece.photo is not None:
            try:
                write_photo(
                    piece.output,
                    piece.photo,
                    quality=self._quality,
                    new=piece.output in self._fresh,
                    before_rename=record,
                )
            except FdikpEdgeError as problem:
                piece = dataclasses.replace(piece, error=problem)
        if piece.error is not None:
            self._manifest.append(self._record(piece, None))
        return dataclasses.replace(piece, photo=None)

    def _record(self, piece: _Piece, result: Stamp | None) -> Record:
        settings = self._settings if result else {**self._settings, "max_pixels": self._max_pixels}
        return Record(
            output=_key(piece.output, self._out),
            source=str(piece.source),
            stamp=piece.stamp,
            artifact=piece.artifact,
            settings=settings,
            result=result,
            reason=str(piece.error or ""),
            final=is_final(piece.error),
            seconds=round(piece.seconds, 3),
            details={
                **({"bucket": piece.bucket} if piece.bucket else {}),
                "height": piece.size[0],
                "width": piece.size[1],
                "tiles": piece.tiles,
                "notes": list(piece.notes),
            },
        )
