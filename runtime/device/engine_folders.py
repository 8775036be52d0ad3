"""Where the engines of a bundle's artifacts are: a folder for each artifact and way of typing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..artifact import Artifact
from ..errors import ArtifactError, UnknownNameError

WEAK = ("fp16", "int8")
"""Precisions that a weakly typed builder chooses by flags."""


def engine_folder(engines: Path, artifact: Artifact, weak: str | None = None) -> Path:
    """Return the folder of an artifact's engine. One that was built by flags (``weak``) has its own: it is
    made from the float32 file, beside the engine that takes its types from that file."""
    return engines / (f"{artifact.path.name}-weak-{weak}" if weak else artifact.path.name)


def built_engines(engines: Path, artifact: Artifact) -> list[Path]:
    """Return the folders of an artifact's engines, as far as they were built."""
    folders = [engine_folder(engines, artifact, weak) for weak in (None, *WEAK)]
    return [folder for folder in folders if folder.exists()]


def what_runs(engines: Path, artifact: Artifact) -> list[Artifact]:
    """Return the engines that were built from an artifact, or the artifact itself where there is none.

    Raises:
        ArtifactError: an engine is not sound, or was built from another bundle.
    """
    opened = [Artifact.open(folder) for folder in built_engines(engines, artifact)]
    for engine in opened:
        if engine.passport.program_sha256 != artifact.passport.program_sha256:
            raise ArtifactError(f"{engine.path}: was built from another bundle; rebuild it with --overwrite")
    return opened or [artifact]


def at_precisions(runs: Sequence[Artifact], precisions: Sequence[str]) -> list[Artifact]:
    """Return those at the precisions asked for, all of them when none is asked for.

    Raises:
        UnknownNameError: a precision that none has; lists those there are.
    """
    present = dict.fromkeys(run.passport.precision for run in runs)
    for precision in precisions:
        if precision not in present:
            raise UnknownNameError(f"nothing here is at {precision!r}; there are: {', '.join(present)}")
    return [run for run in runs if not precisions or run.passport.precision in precisions]
