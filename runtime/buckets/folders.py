"""Where artifacts lie: in a folder of their own, in the folder of a deploy, one for each size in a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import ArtifactError
from ..fields import PASSPORT_NAME

_SIZE = re.compile(r"[1-9][0-9]{0,5}x[1-9][0-9]{0,5}")


def size_name(size: tuple[int, int]) -> str:
    """Return what the folder of one bucket is called: ``256x384`` for a height of 256."""
    return f"{size[0]}x{size[1]}"


def size_folders(folder: Path) -> list[Path]:
    """Return what lies in a folder under the name of a size, whatever it is; none if it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if _SIZE.fullmatch(entry.name))
    except OSError:
        return []


def holds_only_sizes(folder: Path) -> bool:
    """Say whether a folder may be replaced by another one of sizes: it holds artifacts, each called by its
    size, and nothing else but the pictures that ``verify --worst-case`` leaves beside artifacts."""
    sizes = size_folders(folder)
    others = set(folder.iterdir()) - set(sizes)
    pictures = all(path.suffix == ".png" and not path.is_dir() for path in others)
    return bool(sizes) and pictures and all(is_artifact(path) and not path.is_symlink() for path in sizes)


def shown_name(folder: Path) -> str:
    """Return what an artifact is called in tables: a bucket, which is called by its size alone, with the
    folder that it lies in."""
    return f"{folder.parent.name}/{folder.name}" if _SIZE.fullmatch(folder.name) else folder.name


def artifact_folders(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Return the artifact folders that paths stand for, and the paths that stand for none.

    An artifact stands for itself, a folder of buckets for each of them, and the folder that ``deploy`` wrote
    for all artifacts and buckets in it. ``deploy`` leaves a report and pictures beside the artifacts, so that
    ``build/*`` names more than those. A path that does not exist is returned as it is: opening it says so.

    Raises:
        ArtifactError: a folder without an artifact was all that was given.
    """
    chosen: list[Path] = []
    others: list[Path] = []
    for path in paths:
        inside = [] if is_artifact(path) else _inside(path)
        if inside:
            chosen += inside
        elif is_artifact(path) or not path.exists():
            chosen.append(path)
        else:
            others.append(path)
    if chosen:
        return chosen, others
    if len(paths) == 1 and paths[0].is_dir():
        raise ArtifactError(
            f"{paths[0]}: no artifact, and none in it; give an artifact (a folder with {PASSPORT_NAME}) or "
            "the folder that deploy wrote"
        )
    return list(paths), []


def is_artifact(path: Path) -> bool:
    """Say whether a folder has a passport, good or bad."""
    return (path / PASSPORT_NAME).exists()


def _inside(path: Path) -> list[Path]:
    """Return the artifacts of a folder by name, with the buckets in it; none if it cannot be listed."""
    try:
        entries = sorted(path.iterdir())
    except OSError:
        return []
    nested = [[entry] if is_artifact(entry) else _artifacts(size_folders(entry)) for entry in entries]
    return [folder for folders in nested for folder in folders]


def _artifacts(folders: Iterable[Path]) -> list[Path]:
    return [folder for folder in folders if is_artifact(folder)]
