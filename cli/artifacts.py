"""The artifacts that a command was given: folders of artifacts are opened, what lies beside them is not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..runtime.errors import ArtifactError
from ..runtime.fields import PASSPORT_NAME
from .guard import complain

if TYPE_CHECKING:
    from ..runtime.artifact import Artifact


def open_artifacts(paths: Sequence[Path]) -> list[Artifact]:
    """Open artifacts, in order; see :func:`artifact_folders` for what ``paths`` may be.

    Raises:
        ArtifactError: no artifact, or one that cannot be read.
    """
    from ..runtime.artifact import Artifact

    return [Artifact.open(path) for path in artifact_folders(paths)]


def artifact_folders(paths: Sequence[Path]) -> list[Path]:
    """Return the artifact folders among paths: themselves, or in the folder that ``deploy`` wrote.

    ``deploy`` leaves a report and pictures beside the artifacts, so that ``build/*`` names more than
    artifacts: what is none is skipped with a note, if there is any artifact at all.

    Raises:
        ArtifactError: a folder without an artifact was all that was given.
    """
    chosen: list[Path] = []
    skipped: list[Path] = []
    for path in paths:
        inside = [] if _is_artifact(path) else _inside(path)
        if inside:
            chosen += inside
        elif _is_artifact(path) or not path.exists():
            chosen.append(path)  # opening a path that is not there says so
        else:
            skipped.append(path)
    if not chosen and len(paths) == 1 and paths[0].is_dir():
        raise ArtifactError(
            f"{paths[0]}: no artifact, and none in it; give an artifact (a folder with {PASSPORT_NAME}) or "
            "the folder that deploy wrote"
        )
    if not chosen:
        return list(paths)
    for path in skipped:
        complain(f"{path}: no artifact; skipped", kind="note")
    return chosen


def _is_artifact(path: Path) -> bool:
    return (path / PASSPORT_NAME).exists()


def _inside(path: Path) -> list[Path]:
    """Return the artifacts directly in a folder, by name; none where it cannot be listed."""
    try:
        return sorted(entry for entry in path.iterdir() if _is_artifact(entry))
    except OSError:
        return []
