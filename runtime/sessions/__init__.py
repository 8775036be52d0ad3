"""One session class per runtime, chosen by the artifact's target and imported only then."""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..artifact import Artifact
from ..errors import BadInputError, ExtensionError, TargetUnavailableError
from ..installed import entry_points
from ..tensors import check_memory
from .base import Milliseconds, Session, available_threads

__all__ = [
    "MODULES",
    "SESSIONS",
    "STAND_INS",
    "Milliseconds",
    "Session",
    "available_threads",
    "open_session",
    "open_stand_in",
]

SESSIONS = {
    "onnx": ".onnxruntime_session:OnnxRuntimeSession",
    "openvino": ".openvino_session:OpenVinoSession",
    "coreml": ".coreml_session:CoreMlSession",
    "tensorrt-rtx": ".tensorrt_session:TensorRtSession",
    "tensorrt": ".tensorrt_session:TensorRtSession",
    "web": ".web_session:WebSession",
    "litert": ".litert_session:LiteRtSession",
    "executorch": ".executorch_session:ExecuTorchSession",
}
"""Target name -> ``module:Class``, relative to this package.

For a target that is not here, the class is read from the row that another installed package provides
(:mod:`..installed.entry_points`)."""

MODULES = {
    "onnx": "onnxruntime",
    "openvino": "openvino",
    "web": "playwright",
    "litert": "ai_edge_litert",
    "executorch": "executorch",
}
"""Target name -> the Python module that runs it, where pip installs one."""

STAND_INS = {
    "tensorrt-rtx": ".stand_in:OnnxStandIn",
    "tensorrt": ".stand_in:OnnxStandIn",
}
"""The same, for what runs another file of an artifact on a machine that cannot run its model."""


THREADS_PER_PROCESSOR = 4
"""More threads than this for each processor only wait for each other."""


def open_session(artifact: Artifact | str | Path, *, threads: int | None = None, **options: Any) -> Session:
    """Open an artifact with the runtime it was built for.

    Args:
        artifact: an opened artifact, or the folder of one (which is then checked first).
        threads: processor threads to use; all that this process may use when ``None``.
        options: what the session's class takes besides, such as ``cuda_graph``, ``waiting`` and ``mapped``
            (TensorRT) or ``exact_sums`` (ONNX Runtime, OpenVINO).

    Raises:
        ArtifactError: the folder is not a sound artifact, or the runtime refuses its model.
        TargetUnavailableError: the runtime is not installed here, or nothing installed runs the target.
        ExtensionError: an installed package provides the target, and its session cannot be loaded.
        BadInputError: ``threads`` is below one, or far above the number of processors; or the target's
            session has no such option.
        SizeError: its declared inputs and outputs do not fit in this machine's memory.
    """
    if not isinstance(artifact, Artifact):
        artifact = Artifact.open(artifact)
    if threads is not None and threads < 1:
        raise BadInputError(f"threads: expected 1 or more, got {threads}")
    processors = os.cpu_count() or 1
    if threads is not None and threads > THREADS_PER_PROCESSOR * processors:
        raise BadInputError(
            f"threads: {threads} are far more than the {processors} processors here; at most "
            f"{THREADS_PER_PROCESSOR * processors} can be used"
        )
    check_memory((*artifact.passport.inputs, *artifact.passport.outputs), str(artifact.path))
    opened = _class_for(artifact, SESSIONS, "session")
    if opened is None:
        known = dict.fromkeys((*SESSIONS, *entry_points.names(entry_points.TARGETS)))
        raise TargetUnavailableError(
            f"{artifact.path}: nothing installed here runs the target {artifact.passport.target!r}; "
            f"there are: {', '.join(known)}"
        )
    if unknown := sorted(set(options) - set(inspect.signature(opened.__init__).parameters)):
        raise BadInputError(
            f"{artifact.path}: {', '.join(unknown)}: target {artifact.passport.target} has no such option; "
            "leave it out"
        )
    return opened(artifact, threads or available_threads(), **options)


def open_stand_in(artifact: Artifact, *, threads: int | None = None) -> Session | None:
    """Open what an artifact holds beside its model, for a machine that cannot run that; ``None`` if nothing.

    Raises:
        ArtifactError, TargetUnavailableError: as :func:`open_session`.
    """
    opened = _class_for(artifact, STAND_INS, "stand_in")
    return None if opened is None else opened(artifact, threads or available_threads())


def _class_for(artifact: Artifact, table: Mapping[str, str], attribute: str) -> type[Session] | None:
    """Return the class that a table, or the row of another installed package, names for an artifact's target.

    A device has no target table, so the row is not imported as a type; only the attribute is looked up.

    Raises:
        ExtensionError: the package's row or class cannot be loaded, or is not what it should be.
    """
    target = artifact.passport.target
    if target in SESSIONS:
        return _resolve(table[target]) if target in table else None
    row = entry_points.load(entry_points.TARGETS, target)
    reference = getattr(row, attribute, None)
    if reference is None:
        return None
    where = f"{target!r} is provided by {entry_points.origin(entry_points.TARGETS, target)}"
    try:
        loaded = _resolve(reference)
    except Exception as error:  # the package's own code runs here
        raise ExtensionError(
            f"{where}, whose {attribute} {reference!r} cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    if not (isinstance(loaded, type) and issubclass(loaded, Session)):
        raise ExtensionError(f"{where}, whose {attribute} {reference!r} is no Session")
    return loaded


def _resolve(reference: str) -> type[Session]:
    module, _, name = reference.partition(":")
    session: type[Session] = getattr(importlib.import_module(module, __package__), name)
    return session
