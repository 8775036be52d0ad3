"""The ``coreml`` target: by Core ML itself on macOS, by the MIL reference interpreter anywhere else."""

from __future__ import annotations

import importlib.util
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..artifact import Artifact
from ..errors import ArtifactError
from ..mil import Interpreter, Package
from ..passport import TensorContract
from ..photo import Array
from .base import Arrays, Port, Session, available_threads, check_ports, refused
from .placement import Placement, Ran, collect

REFERENCE = "MIL reference interpreter, not Apple hardware"
_CHANNELS = {"GRAYSCALE": 1, "RGB": 3}
_UNITS = {"MLCPUComputeDevice": "CPU", "MLGPUComputeDevice": "GPU", "MLNeuralEngineComputeDevice": "NE"}


class CoreMlSession(Session):
    """``model.mlpackage``, float arrays or RGB images in and out.

    On macOS with coremltools, Core ML predicts, on the compute units that the package hints at. Elsewhere the
    reference interpreter computes the program in its declared precisions, and :attr:`caveat` says so.
    """

    def __init__(self, artifact: Artifact, threads: int) -> None:
        """Load the package.

        Raises:
            ArtifactError: the package is corrupt, foreign, newer than this release, holds an operation that
            the
                interpreter does not know, or is not what the passport says.
        """
        super().__init__(artifact, threads)
        package = Package.open(artifact.model_path)
        try:
            check_ports(
                artifact,
                [_port(feature, artifact.passport.contract) for feature in package.inputs],
                [_port(feature, artifact.passport.contract) for feature in package.outputs],
            )
            kinds = {
                operation.outputs[0][1].dtype for operation in package.program.operations if operation.outputs
            }
            self._floats = "float16 and float32" if {"float16", "float32"} <= kinds - {""} else "float32"
            self._engine: _Engine | None = (
                _Apple(artifact, package) if apple_predicts() else _Reference(package)
            )
        except BaseException:
            package.close()
            raise
        self.caveat = self._engine.caveat

    def _run(self, arrays: Arrays) -> Arrays:
        if self._engine is None:
            raise ArtifactError(f"{self.artifact.path}: the session is closed")
        return self._engine.run(arrays, self.outputs)

    def placement(self, x: Mapping[str, Array], runs: int) -> Placement:
        """Return the compute unit that Core ML plans for each operation, with its estimated share.

        The processor is a fallback where the package asks for the Neural Engine. Not verified yet on a Mac.
        """
        if not isinstance(self._engine, _Apple):
            return super().placement(x, runs)
        ran = self._engine.planned()
        units = {entry.place for entry in ran}
        asked_for_engine = self._engine.hint.endswith("_NE")
        return collect(ran, "Core ML's compute plan", units & {"CPU"} if asked_for_engine else ())

    def describe(self) -> dict[str, str | int]:
        """Say what runs."""
        engine = self._engine
        return {
            "runtime": engine.runtime if engine else "",
            "version": engine.version if engine else "",
            "device": engine.device if engine else "",
            # NumPy's matrix products take what their library was told to take when it was loaded.
            "threads": available_threads(),
            "arithmetic": self._arithmetic(self._floats),
        }

    def close(self) -> None:
        """Free the model."""
        if self._engine is not None:
            self._engine.close()
        self._engine = None


class _Engine(ABC):
    """What computes a package, with arrays as the artifact's contracts say."""

    runtime: str
    version: str
    device: str
    caveat: str = ""

    @abstractmethod
    def run(self, arrays: Arrays, outputs: Sequence[TensorContract]) -> Arrays:
        """Compute ``outputs`` from ``arrays``."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the files."""


class _Reference(_Engine):
    """The interpreter of :mod:`fdikp_edge.runtime.mil`."""

    runtime = "MIL reference interpreter"
    version = np.__version__
    device = "CPU (NumPy)"
    caveat = REFERENCE

    def __init__(self, package: Package) -> None:
        self._package = package
        self._interpreter = Interpreter(package)

    def run(self, arrays: Arrays, outputs: Sequence[TensorContract]) -> Arrays:
        # Core ML hands an image over as planes of floats from 0 to 255, and takes such planes back.
        results = self._interpreter.run(
            {name: x.transpose(0, 3, 1, 2) if x.dtype == np.uint8 else x for name, x in arrays.items()}
        )
        return {contract.name: _as_promised(results[contract.name], contract) for contract in outputs}

    def close(self) -> None:
        self._package.close()


class _Apple(_Engine):
    """Core ML itself. Written against coremltools 9; not verified yet on a Mac."""

    runtime = "Core ML"

    def __init__(self, artifact: Artifact, package: Package) -> None:
        import coremltools as ct

        package.close()
        hint = package.metadata.get("fdikp_edge.compute_units", "ALL")
        units = getattr(ct.ComputeUnit, hint, ct.ComputeUnit.ALL)
        try:
            self._model: Any = ct.models.MLModel(str(artifact.model_path), compute_units=units)
            self.hint, self._units = str(hint), units
            counts = Counter(entry.place for entry in self.planned()).most_common()
            self.device = ", ".join(f"{unit} {count}" for unit, count in counts) or self.hint
        except Exception as error:  # RuntimeError, or the bridge's own
            raise refused(artifact, "Core ML", error) from error
        self.version = str(ct.__version__)

    def run(self, arrays: Arrays, outputs: Sequence[TensorContract]) -> Arrays:
        from PIL import Image

        given = {
            name: Image.fromarray(x[0] if x.shape[-1] == 3 else x[0, ..., 0]) if x.dtype == np.uint8 else x
            for name, x in arrays.items()
        }
        results = self._model.predict(given)
        return {
            contract.name: np.array(
                results[contract.name].convert("RGB" if contract.channels == 3 else "L"), np.uint8
            ).reshape(contract.shape)
            if contract.dtype == "uint8"
            else np.array(results[contract.name], contract.dtype)
            for contract in outputs
        }

    def planned(self) -> list[Ran]:
        """Return the operations with the units that Core ML means to run them on; macOS 14.4 on."""
        return planned(self._model, self._units)

    def close(self) -> None:
        self._model = None


def apple_predicts() -> bool:
    """Whether Core ML can predict here: macOS, with coremltools installed."""
    return sys.platform == "darwin" and importlib.util.find_spec("coremltools") is not None


def planned(model: Any, units: Any) -> list[Ran]:
    """Return each operation with the compute unit that Core ML means to run it on (``NE``, ``GPU``, ``CPU``)
    and its estimated part of the work, in place of a time."""
    from coremltools.models.compute_plan import MLComputePlan

    plan = MLComputePlan.load_from_path(path=str(Path(model.get_compiled_model_path())), compute_units=units)
    ran = []
    for operation in plan.model_structure.program.functions["main"].block.operations:
        usage = plan.get_compute_device_usage_for_mlprogram_operation(operation)
        if usage is not None:
            kind = type(usage.preferred_compute_device).__name__
            cost = plan.get_estimated_cost_for_mlprogram_operation(operation)
            weight = None if cost is None else float(cost.weight)
            ran.append(Ran(str(operation.operator_name), _UNITS.get(kind, kind), weight))
    return ran


def _as_promised(array: Array, contract: TensorContract) -> Array:
    if contract.dtype != "uint8":
        return array.astype(contract.dtype)
    pixels: Array = np.rint(np.clip(array, 0, 255)).astype(np.uint8).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(pixels)


def _port(feature: Any, contract: str) -> Port:
    """Return a feature as the passport words it: an image is bytes, height x width x 3."""
    if feature.colour is None:
        return feature.name, list(feature.shape), feature.dtype
    channels = _CHANNELS.get(feature.colour)
    if channels is None or contract != "uint8_nhwc":
        return feature.name, list(feature.shape), f"{feature.colour} image"
    return feature.name, [1, *feature.shape, channels], "uint8"
