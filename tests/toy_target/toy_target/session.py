"""What runs the target's file."""

from __future__ import annotations

from typing import Any

from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.sessions.base import Arrays, Session, import_runtime


class ToySession(Session):
    """``network.toy`` on ONNX Runtime."""

    def __init__(self, artifact: Artifact, threads: int) -> None:
        super().__init__(artifact, threads)
        ort: Any = import_runtime("onnxruntime", "toy", "pip install onnxruntime")
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        data = artifact.model_path.read_bytes()
        self._session: Any = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def _run(self, arrays: Arrays) -> Arrays:
        names = [contract.name for contract in self.outputs]
        return dict(zip(names, self._session.run(names, arrays), strict=True))

    def describe(self) -> dict[str, str | int]:
        """Say what runs."""
        return {
            "runtime": "Toy Runtime",
            "version": "1.2.3",
            "device": "CPU",
            "threads": self.threads,
            "arithmetic": self._arithmetic("float32"),
        }

    def close(self) -> None:
        """Free the model."""
        self._session = None
