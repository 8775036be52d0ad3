"""The artifacts that a command was given: folders of artifacts are opened, what lies beside them is not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..runtime.buckets import folders
from .guard import complain

if TYPE_CHECKING:
    from ..runtime.artifact import Artifact


def open_artifacts(paths: Sequence[Path]) -> list[Artifact]:
    """Open artifacts, in order; see :func:`folders_of` for what ``paths`` may be.

    Raises:
        ArtifactError: no artifact, or one that cannot be read.
    """
    from ..runtime.artifact import Artifact

    return [Artifact.open(path) for path in folders_of(paths)]


def folders_of(paths: Sequence[Path]) -> list[Path]:
    """Return the artifact folders that paths stand for, with a note for each path that stands for none.

    Raises:
        ArtifactError: see :func:`fdikp_edge.runtime.buckets.folders.artifact_folders`.
    """
    chosen, others = folders.artifact_folders(paths)
    for path in others:
        complain(f"{path}: no artifact; skipped", kind="note")
    return chosen
