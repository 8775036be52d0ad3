"""Whether a photo that failed would fail again."""

from __future__ import annotations

from ..errors import FdikpEdgeError, ImageError


def is_final(error: FdikpEdgeError | None) -> bool:
    """Say whether a photo itself is at fault, not this machine: its memory, its disk, what is installed."""
    cause = error.__cause__ if error is not None else None
    machine = isinstance(cause, MemoryError | ModuleNotFoundError) or bool(getattr(cause, "errno", None))
    return isinstance(error, ImageError) and not machine
