"""One session class per runtime, chosen by the artifact's target and imported only then."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, cast

from ..artifact import Artifact
from ..errors import BadInputError, TargetUnavailableError
from .base import Session, available_threads

__all__ = ["SESSIONS", "STAND_INS", "Session", "available_threads", "open_session", "open_stand_in"]

SESSIONS = {
    "onnx": ".onnxruntime_session:OnnxRuntimeSession",
    "openvino": ".openvino_session:OpenVinoSession",
    "coreml": ".coreml_session:CoreMlSession",
    "tensorrt-rtx": ".tensorrt_session:TensorRtSession",
    "tensorrt": ".tensorrt_session:TensorRtSession",
}
"""Target name -> ``module:Class``, relative to this package."""

STAND_INS = {
    "tensorrt-rtx": ".stand_in:OnnxStandIn",
    "tensorrt": ".stand_in:OnnxStandIn",
}
"""The same, for what runs another file of an artifact on a machine that cannot run its model."""


def open_session(artifact: Artifact | str | Path, *, threads: int | None = None, **options: bool) -> Session:
    """Open an artifact with the runtime it was built for.

    Args:
        artifact: an opened artifact, or the folder of one (which is then checked first).
        threads: processor threads to use; all that this process may use when ``None``.
        options: what the session's class takes besides, such as ``cuda_graph`` (TensorRT).

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
    return cast(Session, _resolve(SESSIONS[target])(artifact, threads or available_threads(), **options))


def open_stand_in(artifact: Artifact, *, threads: int | None = None) -> Session | None:
    """Open what an artifact holds beside its model, for a machine that cannot run that; ``None`` if nothing.

    Raises:
        ArtifactError, TargetUnavailableError: as :func:`open_session`.
    """
    reference = STAND_INS.get(artifact.passport.target)
    if reference is None:
        return None
    return cast(Session, _resolve(reference)(artifact, threads or available_threads()))


def _resolve(reference: str) -> Any:
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module, __package__), name)
