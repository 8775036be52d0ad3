"""Which photos go where: settled before any work starts."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path

from ..errors import BadInputError, ImageError, OutputError, OutputExistsError
from ..photo import FORMATS, READ_ONLY

Jobs = list[tuple[Path, Path]]
"""The source and the output of each photo."""


def plan_files(
    inputs: Iterable[str | Path],
    out: Path,
    *,
    overwrite: bool = False,
    recursive: bool = False,
    suffix: str | None = None,
) -> list[tuple[Path, Path]]:
    """Settle the (source, output) of each photo, in order, or refuse.

    See :func:`~fdikp_edge.runtime.batch.deblur_files`.
    """
    jobs, _ = settle(inputs, out, overwrite=overwrite, recursive=recursive, suffix=suffix)
    for _, output in jobs:
        refuse_existing(output, overwrite=overwrite)
    return jobs


def settle(
    inputs: Iterable[str | Path],
    out: Path,
    *,
    overwrite: bool = False,
    recursive: bool = False,
    suffix: str | None = None,
) -> tuple[Jobs, Counter[str]]:
    """Settle the (source, output) of each photo; results that exist already are the caller's to judge.

    Returns:
        The jobs in order; and how many other files the folders hold, by suffix in lower case (``""``: none).

    Raises:
        BadInputError: no photos.
        OutputError: two photos would have one result, or a result would replace an input.
    """
    passed_over: Counter[str] = Counter()
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
        jobs = _below(given, out, recursive, suffix, passed_over)
        refuse_links({output.parent for _, output in jobs}, out)
    if not jobs:
        raise BadInputError(
            f"no photos in {', '.join(map(str, given)) or 'an empty list'} ({', '.join(FORMATS)})"
            + ("" if recursive else "; to look into folders of folders, ask for it (--recursive)")
        )
    _refuse_collisions(jobs, overwrite)
    return jobs, passed_over


def refuse_existing(output: Path, *, overwrite: bool = False) -> None:
    """Refuse to replace what exists, a link that leads nowhere included, unless that is asked for.

    Raises:
        OutputExistsError: there is something at ``output``.
    """
    if not overwrite and os.path.lexists(output):
        raise OutputExistsError(f"{output}: exists already; choose another place, or ask to overwrite")


def refuse_links(folders: Iterable[Path], out: Path) -> None:
    """Refuse folders of results that a link below the output folder leads out of.

    Raises:
        OutputError: names the link.
    """
    for folder in sorted(folders):
        for place in (folder, *folder.parents):
            if place == out or not place.is_relative_to(out):
                break
            if place.is_symlink():
                raise OutputError(
                    f"{place}: is a link, and results would go where it leads; remove it, or choose "
                    "another folder"
                )


def _below(
    given: list[Path], out: Path, recursive: bool, suffix: str | None, passed_over: Counter[str]
) -> Jobs:
    jobs: dict[Path, tuple[Path, Path]] = {}
    for path in given:
        photos = [path]
        if path.is_dir():
            files = files_below(path, None, recursive=recursive, leave_out=out)
            photos = [file for file in files if file.suffix.lower() in (*FORMATS, *READ_ONLY)]
            passed_over.update(file.suffix.lower() for file in set(files).difference(photos))
        for source in photos:
            name = source.relative_to(path) if path.is_dir() else Path(source.name)
            ending = suffix or READ_ONLY.get(source.suffix.lower(), source.suffix)
            jobs.setdefault(_resolved(source), (source, out / name.with_suffix(ending)))
    return list(jobs.values())


def files_below(
    folder: Path, kinds: Collection[str] | None, *, recursive: bool, leave_out: Path | None = None
) -> list[Path]:
    """List the files of a folder, without hidden ones, in order.

    ``kinds`` are the suffixes to take, in lower case; ``None`` takes any.
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
    return [path for path in paths if kinds is None or path.suffix.lower() in kinds]


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
