"""Many photos through one session: what goes where is settled before any work starts."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from collections.abc import Collection, Iterable
from pathlib import Path

from .artifact import Artifact
from .deblurrer import Deblurrer, Progress, ProgressCallback
from .errors import BadInputError, FdikpEdgeError, ImageError, OutputError, OutputExistsError
from .images import read_photo, write_photo
from .photo import DEFAULT_MAX_PIXELS, FORMATS
from .sessions import open_session
from .sessions.base import Session


@dataclasses.dataclass(frozen=True)
class FileResult:
    """What became of one photo: ``error`` is ``None`` when ``output`` was written."""

    source: Path
    output: Path
    error: FdikpEdgeError | None = None
    height: int = 0
    width: int = 0
    tiles: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()


def deblur_files(
    inputs: Iterable[str | Path],
    session: Session | Artifact | str | Path,
    out: str | Path,
    *,
    overwrite: bool = False,
    recursive: bool = False,
    suffix: str | None = None,
    halo: int | None = None,
    quality: int = 95,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    progress: ProgressCallback | None = None,
) -> list[FileResult]:
    """Run files and folders of photos through a network, such as one that deblurs.

    Args:
        inputs: photos, and folders of photos (whose other files are passed over).
        session: an opened session, or an artifact to open for the time of the work.
        out: a folder; for one single photo also a file name, whose suffix then chooses the format.
        overwrite: replace files that exist, inputs included.
        recursive: look into folders of folders; their structure is kept below ``out``.
        suffix: format for all results, such as ``".png"``; that of each input when ``None``.
        halo: see :class:`~fdikp_edge.runtime.deblurrer.Deblurrer`.
        quality: of JPEG and WebP.
        max_pixels: refuse larger photos.
        progress: called before the first and after each tile.

    Returns:
        One result for each photo in order. A bad photo is a result with an error, and the others go on.

    Raises:
        BadInputError: no photos, a halo too large, or a session that does not deblur. Nothing was written.
        OutputError: two photos would have one result, or a result would replace a file. Nothing was written.
        ArtifactError, TargetUnavailableError: the artifact cannot be opened.
    """
    jobs = plan_files(inputs, Path(out), overwrite=overwrite, recursive=recursive, suffix=suffix)
    owned = None if isinstance(session, Session) else open_session(session)
    try:
        opened = owned or session
        assert isinstance(opened, Session)
        deblurrer = Deblurrer(opened, halo=halo)
        results = []
        for number, (source, output) in enumerate(jobs):
            if progress is not None:
                deblurrer.progress = _numbered(progress, number, len(jobs), source)
            results.append(_one(deblurrer, source, output, quality, max_pixels))
        return results
    finally:
        if owned is not None:
            owned.close()


def plan_files(
    inputs: Iterable[str | Path],
    out: Path,
    *,
    overwrite: bool = False,
    recursive: bool = False,
    suffix: str | None = None,
) -> list[tuple[Path, Path]]:
    """Settle the (source, output) of each photo, in order, or refuse; see :func:`deblur_files`."""
    given = [Path(path) for path in inputs]
    if suffix is not None and suffix.lower() not in FORMATS:
        raise OutputError(f"suffix {suffix!r}: expected one of {', '.join(FORMATS)}")
    if len(given) == 1 and not given[0].is_dir() and out.suffix and not out.is_dir():
        if out.suffix.lower() not in FORMATS:
            raise OutputError(f"{out}: cannot tell the format; end the name in {', '.join(FORMATS)}")
        if suffix is not None and FORMATS[suffix.lower()] != FORMATS[out.suffix.lower()]:
            raise OutputError(f"{out}: does not end in the suffix {suffix} asked for")
        jobs = [(given[0], out)]
    else:
        if out.exists() and not out.is_dir():
            raise OutputError(f"{out}: is a file, not a folder")
        jobs = _below(given, out, recursive, suffix)
    if not jobs:
        raise BadInputError(
            f"no photos in {', '.join(map(str, given)) or 'an empty list'} ({', '.join(FORMATS)})"
            + ("" if recursive else "; to look into folders of folders, ask for it (--recursive)")
        )
    _refuse_collisions(jobs, overwrite)
    return jobs


def _below(given: list[Path], out: Path, recursive: bool, suffix: str | None) -> list[tuple[Path, Path]]:
    jobs: dict[Path, tuple[Path, Path]] = {}
    for path in given:
        photos = files_below(path, FORMATS, recursive=recursive, leave_out=out) if path.is_dir() else [path]
        for source in photos:
            name = source.relative_to(path) if path.is_dir() else Path(source.name)
            jobs.setdefault(_resolved(source), (source, out / name.with_suffix(suffix or source.suffix)))
    return list(jobs.values())


def files_below(
    folder: Path, kinds: Collection[str], *, recursive: bool, leave_out: Path | None = None
) -> list[Path]:
    """List the files of a folder whose suffix is one of ``kinds``, without hidden ones, in order.

    ``leave_out`` is a folder that is not looked into: what an earlier run left.

    Raises:
        ImageError: a folder cannot be read.
    """
    paths: list[Path] = []
    waiting = [folder]
    try:
        while waiting:  # no recursion (os.walk has it before Python 3.12): folders may nest a thousand deep
            here = waiting.pop()
            with os.scandir(here) as listing:
                entries = sorted((entry for entry in listing if entry.name[0] != "."), key=lambda e: e.name)
            folders = [Path(entry.path) for entry in entries if recursive and _is_folder(entry)]
            waiting += [
                place for place in reversed(folders) if leave_out is None or not _same(place, leave_out)
            ]
            paths += [Path(entry.path) for entry in entries if not _is_dir(entry)]
    except OSError as error:
        raise ImageError(f"{folder}: cannot be read: {error}") from error
    return [path for path in paths if path.suffix.lower() in kinds]


def _is_dir(entry: os.DirEntry[str]) -> bool:
    """Say whether an entry is a folder or a link to one; a link that leads nowhere is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Say whether to look into an entry: links to folders could lead round in a circle."""
    return _is_dir(entry) and not entry.is_symlink()


def _resolved(path: Path) -> Path:
    """Return where a path leads; the path itself where links go round in a circle, which reading it tells."""
    try:
        return path.resolve()
    except (OSError, ValueError, RuntimeError):
        return path.absolute()


def _refuse_collisions(jobs: list[tuple[Path, Path]], overwrite: bool) -> None:
    taken: dict[str, Path] = {}
    for source, output in jobs:
        key = os.path.abspath(output)  # noqa: PTH100 - a link at the output is replaced, not followed
        key = key.casefold() if sys.platform in ("win32", "darwin") else key
        if key in taken:
            raise OutputError(f"{taken[key]} and {source} would both become {output}; use two folders")
        taken[key] = source
    sources = {identity: source for source, _ in jobs if (identity := _identity(source))}
    for source, output in jobs:
        victim = sources.get(_identity(output) or (-1, -1))
        if victim is not None and victim != source:
            raise OutputError(f"{output}: the result of {source} would replace the input {victim}")
        if victim is not None and not overwrite:
            raise OutputExistsError(
                f"{output}: is the input itself; choose another place, or ask to overwrite"
            )
        if os.path.lexists(output) and not overwrite:
            raise OutputExistsError(f"{output}: exists already; choose another place, or ask to overwrite")


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what names a file whatever links lead to it, or ``None`` where there is none."""
    try:
        info = path.stat()
    except (OSError, ValueError):
        return None
    return info.st_dev, info.st_ino


def _same(left: Path, right: Path) -> bool:
    identity = _identity(left)
    return identity is not None and identity == _identity(right)


def _one(deblurrer: Deblurrer, source: Path, output: Path, quality: int, max_pixels: int) -> FileResult:
    began = time.perf_counter()
    try:
        photo = read_photo(source, max_pixels=max_pixels)
        tiles = deblurrer.grid(photo.height, photo.width).tiles
        result = deblurrer.photo(photo)
        notes = (*photo.notes, *write_photo(output, result, quality=quality))
    except FdikpEdgeError as error:
        return FileResult(source, output, error, seconds=time.perf_counter() - began)
    seconds = time.perf_counter() - began
    return FileResult(source, output, None, photo.height, photo.width, tiles, seconds, notes)


def _numbered(progress: ProgressCallback, number: int, count: int, source: Path) -> ProgressCallback:
    def report(event: Progress) -> None:
        progress(dataclasses.replace(event, photo=number, photos=count, source=source))

    return report
