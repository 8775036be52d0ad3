"""The ONNX file beside an engine, in ONNX Runtime: what an engine that cannot run here was made from."""

from __future__ import annotations

import dataclasses

from ..artifact import Artifact
from ..tensorrt.engines import ONNX_FILE
from .onnxruntime_session import OnnxRuntimeSession


class OnnxStandIn(OnnxRuntimeSession):
    """``model.onnx`` of an artifact whose engine is for another machine.

    Its results show that the graph is right, not that the engine is.
    """

    caveat = f"the figures are those of {ONNX_FILE} in ONNX Runtime"
    is_stand_in = True

    def __init__(self, artifact: Artifact, threads: int) -> None:
        """Open the file beside the engine; raises as :class:`OnnxRuntimeSession` does."""
        passport = dataclasses.replace(artifact.passport, model_file=ONNX_FILE)
        # The engine's device adds products in 32 bits; this processor may not.
        super().__init__(dataclasses.replace(artifact, passport=passport), threads, exact_sums=True)
