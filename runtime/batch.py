"""Many photos through a network: what goes where is settled before any work starts."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from .albums.plan import files_below, plan_files
from .artifact import Artifact
from .buckets.buckets import Buckets, Measured
from .buckets.fastest import measure
from .buckets.opened import OpenBuckets
from .deblurrer import Deblurrer, Progress, ProgressCallback
from .errors import ArtifactError, FdikpEdgeError, TargetUnavailableError
from .images import read_photo, write_photo
from .photo import DEFAULT_MAX_PIXELS
from .sessions.base import Session
from .tiles.tiling import Tiling

__all__ = ["Deblurrers", "FileResult", "deblur_files", "files_below", "plan_files"]


@dataclasses.dataclass(frozen=True)
class FileResult:
    """What became of one photo: ``error`` is ``None`` when ``output`` was written.

    ``bucket`` names the one that ran, if there was a choice.
    """

    source: Path
    output: Path
    error: FdikpEdgeError | None = None
    height: int = 0
    width: int = 0
    tiles: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    bucket: str = ""


def deblur_files(
    inputs: Iterable[str | Path],
    session: Session | OpenBuckets | Artifact | str | Path,
    out: str | Path,
    *,
    overwrite: bool = False,
    recursive: bool = False,
    suffix: str | None = None,
    halo: int | None = None,
    quality: int = 95,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    tile: str = "passport",
    progress: ProgressCallback | None = None,
) -> list[FileResult]:
    """Run files and folders of photos through a network, such as one that deblurs.

    Args:
        inputs: photos, and folders of photos (whose other files are passed over).
        session: an opened session or opened buckets; or an artifact, or the folder of one or of buckets, to
            open for the time of the work. Of buckets, each photo goes through the one that
            :meth:`.buckets.buckets.Buckets.for_photo` returns, opened when it is first needed.
        out: a folder; for one single photo also a file name, whose suffix then chooses the format.
        overwrite: replace files that exist, inputs included.
        recursive: look into folders of folders; their structure is kept below ``out``.
        suffix: format for all results, such as ``".png"``; that of each input when ``None``.
        halo: see :class:`~fdikp_edge.runtime.deblurrer.Deblurrer`.
        quality: of JPEG and WebP.
        max_pixels: refuse larger photos.
        tile: ``auto`` chooses among buckets by times measured now; see :func:`.buckets.fastest.measure`.
        progress: called before the first and after each tile.

    Returns:
        One result for each photo in order. A bad photo is a result with an error, and the others go on.

    Raises:
        BadInputError: no photos, a halo too large, or a session that does not deblur. Nothing was written.
        OutputError: two photos would have one result, or a result would replace a file. Nothing was written.
        ArtifactError, TargetUnavailableError: the artifact or a bucket cannot be opened.
    """
    jobs = plan_files(inputs, Path(out), overwrite=overwrite, recursive=recursive, suffix=suffix)
    with contextlib.ExitStack() as stack:
        if not isinstance(session, Session | OpenBuckets):
            session = stack.enter_context(_open(session))
        measured = measure(session, halo) if tile == "auto" and isinstance(session, OpenBuckets) else None
        deblurrers = Deblurrers(session, halo, measured)
        results = []
        for number, (source, output) in enumerate(jobs):
            told = None if progress is None else _numbered(progress, number, len(jobs), source)
            results.append(_one(deblurrers, told, source, output, quality, max_pixels, new=not overwrite))
        return results


def _open(artifact: Artifact | str | Path) -> OpenBuckets:
    if isinstance(artifact, Artifact):
        return OpenBuckets(Buckets(artifact.path, (artifact,)))
    return OpenBuckets(Buckets.open(artifact))


class Deblurrers:
    """The deblurrer for each photo: of the only session, or of the bucket that fits best."""

    def __init__(
        self, session: Session | OpenBuckets, halo: int | None, measured: Measured | None = None
    ) -> None:
        """Open an artifact alone; of several buckets, check only that they take photos and this halo."""
        self._measured = measured
        self._halo = halo
        self._open = session
        self._kept: dict[tuple[Path, int], Deblurrer] = {}
        self.for_size(1, 1) if isinstance(session, Session) else session.buckets.for_photo(1, 1, halo)
        if isinstance(session, OpenBuckets) and len(session.buckets.artifacts) == 1:
            self.for_size(1, 1)

    def for_size(self, height: int, width: int) -> tuple[Deblurrer, str]:
        """Return the deblurrer for a photo, and the name of its bucket if there are several.

        Where several sessions are opened for one photo, it has all of them if the photo has enough tiles.
        """
        if isinstance(self._open, Session):
            return self._kept_for([self._open]), ""
        opened = self._open
        artifact = opened.buckets.for_photo(height, width, self._halo, self._measured)
        halo = self._halo_of(artifact.passport.input.size)
        tiles = Tiling.of(artifact.passport.input.size, halo).grid(height, width).tiles
        return self._kept_for(opened.sessions(artifact, tiles)), opened.buckets.name_of(artifact)

    def _halo_of(self, tile: tuple[int, int]) -> int | None:
        return self._halo if self._measured is None else self._measured.halo(tile, self._halo)

    def _kept_for(self, sessions: Sequence[Session]) -> Deblurrer:
        first, *beside = sessions
        key = (first.artifact.path, len(sessions))
        if key not in self._kept:
            halo = self._halo_of(first.input.size)
            self._kept[key] = Deblurrer(first, halo=halo, beside=beside)
        return self._kept[key]


def _one(
    deblurrers: Deblurrers,
    progress: ProgressCallback | None,
    source: Path,
    output: Path,
    quality: int,
    max_pixels: int,
    *,
    new: bool,
) -> FileResult:
    began = time.perf_counter()
    bucket = ""
    try:
        photo = read_photo(source, max_pixels=max_pixels)
        deblurrer, bucket = deblurrers.for_size(photo.height, photo.width)
        deblurrer.progress = progress
        tiles = deblurrer.grid(photo.height, photo.width).tiles
        result = deblurrer.photo(photo)
        notes = (*photo.notes, *write_photo(output, result, quality=quality, new=new))
    except (ArtifactError, TargetUnavailableError):
        raise  # a bucket that cannot be opened: the next photo would not fare better
    except FdikpEdgeError as error:
        return FileResult(source, output, error, seconds=time.perf_counter() - began, bucket=bucket)
    seconds = time.perf_counter() - began
    return FileResult(source, output, None, photo.height, photo.width, tiles, seconds, notes, bucket)


def _numbered(progress: ProgressCallback, number: int, count: int, source: Path) -> ProgressCallback:
    def report(event: Progress) -> None:
        progress(dataclasses.replace(event, photo=number, photos=count, source=source))

    return report
