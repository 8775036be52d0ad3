"""The recorded input and output of an artifact that has one of each."""

from __future__ import annotations

from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.photo import Array


def golden_pair(artifact: Artifact) -> tuple[Array, Array]:
    """Return the arrays themselves."""
    inputs, outputs = artifact.golden()
    (x,), (y,) = inputs.values(), outputs.values()
    return x, y
