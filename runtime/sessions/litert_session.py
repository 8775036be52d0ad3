"""The ``litert`` target on LiteRT's interpreter: XNNPACK's kernels on the processor."""

from __future__ import annotations

import importlib.metadata
import threading
from typing import Any

from .. import strict_json
from ..artifact import Artifact
from ..errors import ArtifactError, RunError
from ..outside.files import read_bounded
from ..outside.tflite import PADDING, TfliteModel, read_tflite
from .base import Arrays, Port, Session, check_ports, check_suffix, import_runtime, refused

MAX_BYTES = 2**31 - 1 - len(PADDING)


class LiteRtSession(Session):
    """``model.tflite`` on the CPU, in float32 where not quantised; weights in float16 are widened."""

    def __init__(self, artifact: Artifact, threads: int) -> None:
        """Check the file, load it and plan its memory.

        Raises:
            TargetUnavailableError: LiteRT is not installed.
            ArtifactError: the model is damaged, holds what no artifact of this toolkit does, or is not what
                the passport says.
        """
        super().__init__(artifact, threads)
        module: Any = import_runtime(
            "ai_edge_litert.interpreter", "litert", 'pip install "fdikp-edge[litert]"'
        )
        check_suffix(artifact, ".tflite")
        data = read_bounded(artifact.model_path, MAX_BYTES, ArtifactError, follow_links=False)
        model = checked_model(artifact, data)
        check_ports(artifact, _ports(model, inputs=True), _ports(model, inputs=False))
        delegate = _delegate(model)
        if delegate != "cpu":
            self.caveat = f"processor, because no {delegate} delegate of Android is here"
            self.is_stand_in = True
        self._places = (dict(model.inputs), dict(model.outputs))
        self._one_at_a_time = threading.Lock()
        try:
            # The bytes that were checked, and not the file again.
            self._interpreter: Any = module.Interpreter(model_content=data + PADDING, num_threads=threads)
            self._interpreter.allocate_tensors()
        except Exception as error:  # ValueError, RuntimeError and others
            raise refused(artifact, "LiteRT", error) from error

    def _run(self, arrays: Arrays) -> Arrays:
        # An interpreter has one set of tensors: a second thread would write into those of the first.
        with self._one_at_a_time:
            interpreter = self._interpreter
            if interpreter is None:
                raise RunError(f"{self.artifact.path}: the session was closed")
            inputs, outputs = self._places
            for name, value in arrays.items():
                interpreter.set_tensor(inputs[name], value)
            interpreter.invoke()
            return {name: interpreter.get_tensor(place) for name, place in outputs.items()}

    def describe(self) -> dict[str, str | int]:
        """Say what runs."""
        return {
            "runtime": "LiteRT",
            "version": importlib.metadata.version("ai-edge-litert"),
            "device": "CPU, XNNPACK",
            "threads": self.threads,
            "arithmetic": self._arithmetic("float32"),
        }

    def close(self) -> None:
        """Free the model."""
        self._interpreter = None


def checked_model(artifact: Artifact, data: bytes) -> TfliteModel:
    """Read a model's file without native code.

    Raises:
        ArtifactError: it is damaged, or holds what no artifact of this toolkit does.
    """
    try:
        return read_tflite(data)
    except (ValueError, OverflowError) as error:  # UnicodeDecodeError is a ValueError
        raise ArtifactError(
            f"{artifact.model_path}: not a usable .tflite file: {error}. Export the artifact again"
        ) from error


def _delegate(model: TfliteModel) -> str:
    """Return what the file is meant to run on, as its metadata say; ``cpu`` where they do not."""
    try:
        facts = strict_json.parse(model.metadata.get("fdikp_edge", b"{}"))
    except ValueError:
        return "cpu"
    delegate = facts.get("delegate") if isinstance(facts, dict) else None
    return delegate if delegate in ("gpu", "nnapi") else "cpu"


def _ports(model: TfliteModel, *, inputs: bool) -> list[Port]:
    ends = model.inputs if inputs else model.outputs
    tensors = {name: model.tensors[place] for name, place in ends.items()}
    return [(name, list(tensor.shape), tensor.dtype) for name, tensor in tensors.items()]
