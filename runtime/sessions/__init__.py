"""One session class per runtime, chosen by the artifact's target and imported only then."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import cast

from ..artifact import Artifact
from ..errors import BadInputError, TargetUnavailableError
from .base import Session, available_threads

__all__ = ["SESSIONS", "Session", "available_threads", "open_session"]

SESSIONS = {
    "onnx": ".onnxruntime_session:OnnxRuntimeSession",
    "openvino": ".openvino_session:OpenVinoSession",
    "coreml": ".coreml_session:CoreMlSession",
}
"""Target name -> ``module:Class``, relative to this package."""


def open_session(artifact: Artifact | str | Path, *, threads: int | None = None) -> Session:
    """Open an artifact with the runtime it was built for.

    Args:
        artifact: an opened artifact, or the folder of one (which is then checked first).
        threads: processor threads to use; all that this process may use when ``None``.

    Raises:
        ArtifactError: the folder is not a sound artifact, or the runtime refuses its model.
        TargetUnavailableError: the runtime is not installed here, or this release has none for the target.
        BadInputError: ``threads`` is below one.
    """
    if not isinstance(artifact, Artifact):
        artifact = Artifact.open(artifact)
    if threads is not None and threads < 1:
        raise BadInputError(f"threads: expected 1 or more, got {threads}")
    target = artifact.passport.target
    if target not in SESSIONS:
        raise TargetUnavailableError(
            f"{artifact.path}: this release cannot run the target {target!r}; it runs {', '.join(SESSIONS)}"
        )
    module, _, name = SESSIONS[target].partition(":")
    session_class = getattr(importlib.import_module(module, __package__), name)
    return cast(Session, session_class(artifact, threads or available_threads()))
