"""What a command measured goes into the passport, where that can be written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..runtime.errors import OutputError
from .guard import complain

if TYPE_CHECKING:
    from ..runtime.artifact import Artifact
    from ..runtime.evidence import Evidence


def record(artifact: Artifact, evidence: Evidence, save: bool | None) -> None:
    """Add evidence to a passport, as ``--save`` (``True``), ``--no-save`` (``False``) or neither asks.

    Without either, a passport that cannot be written is a note: the check itself has been done, and an
    artifact on a read-only disk can be checked too.

    Raises:
        OutputError: it cannot be written, and ``save`` is ``True``.
    """
    if save is False:
        return
    try:
        artifact.record(evidence)
    except OutputError as error:
        if save:
            raise
        complain(
            f"the result was not added to the passport: {error}; --no-save leaves the passport alone",
            kind="note",
        )
