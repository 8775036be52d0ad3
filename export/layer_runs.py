"""A built model run with its runtime's own profiler: the time of each operator, and the layers in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ..runtime.artifact import Artifact
from ..runtime.photo import Array

Entry = tuple[tuple[str, ...], float]
"""Names of the layers that an operator of the runtime was made from, and its milliseconds."""


class LayerRuns(Protocol):
    """An artifact's model, opened with profiling on."""

    def run(self) -> None:
        """Run the model once."""
        ...

    def entries(self) -> list[list[Entry]]:
        """End profiling, and return the entries of each run."""
        ...


class Opener(Protocol):
    """Opens an artifact with profiling; what a row of the target table names as ``layer_runs``."""

    def __call__(self, artifact: Artifact, x: Mapping[str, Array], threads: int) -> LayerRuns:
        """Open the model; ``x`` holds the inputs of every run by name.

        Raises:
            TargetUnavailableError: the runtime does not profile here.
        """
        ...
