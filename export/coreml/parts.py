"""Any part of a built Core ML package, by the reference interpreter: what bisects it off a Mac, too."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...runtime import strict_json
from ...runtime.artifact import Artifact
from ...runtime.errors import ArtifactError, TargetUnavailableError
from ...runtime.mil import Interpreter, Package
from ...runtime.photo import Array
from ..cutting.parts import Step
from .build import NODES

_WIDTH = re.compile(r"_cast_fp(16|32)$")
_TRANSPARENT = {"cast", "identity"}


class CoreMlParts:
    """See :class:`~fdikp_edge.export.cutting.parts.Parts`. The package says what its operations came from."""

    def __init__(self, package: Package) -> None:
        """Prepare an opened package.

        Raises:
            ArtifactError: it does not say which operation came from where.
        """
        try:
            labels = strict_json.parse(package.metadata.get(f"fdikp_edge.{NODES}", "").encode())
        except ValueError as error:
            raise ArtifactError(
                f"{package.path}: does not say which operation came from where, as older releases left it; "
                "export the artifact again"
            ) from error
        names: dict[str, Any] = labels if isinstance(labels, dict) else {}
        self.interpreter = Interpreter(package)
        program = package.program
        self.inputs = tuple(name for name, *_ in program.inputs)
        self.outputs = tuple(program.outputs)
        stored = {
            name
            for operation in program.operations
            if operation.type == "const" or operation.type.startswith("constexpr_")
            for name, _ in operation.outputs
        }
        packed = {
            name
            for operation in program.operations
            if operation.type.startswith("constexpr_")
            for name, _ in operation.outputs
        }
        self.steps: Sequence[Step] = [
            Step(
                label=str(names.get(_WIDTH.sub("", operation.outputs[0][0]), "")),
                kind=operation.type,
                reads=tuple(
                    name
                    for bindings in operation.inputs.values()
                    for name in bindings
                    if isinstance(name, str) and name not in stored
                ),
                makes=tuple(name for name, _ in operation.outputs),
                shapes=tuple(kind.shape for _, kind in operation.outputs),
                precision=operation.outputs[0][1].dtype
                + (" with int8 weights" if packed & set(operation.inputs.get("weight", ())) else ""),
                transparent=operation.type in _TRANSPARENT,
            )
            for operation in program.operations
            if operation.outputs and operation.outputs[0][0] not in stored
        ]

    def run(self, given: Mapping[str, Array], wanted: Sequence[str]) -> dict[str, Array]:
        """Compute ``wanted`` from ``given`` in the precisions that the package declares."""
        values = self.interpreter.part(given, wanted)
        return {name: v.astype(np.float32) if v.dtype.kind == "f" else v for name, v in values.items()}


def open_parts(artifact: Artifact, threads: int) -> CoreMlParts:
    """Read an artifact's package; see :class:`~fdikp_edge.export.cutting.parts.Opener`.

    Raises:
        TargetUnavailableError: it takes bytes; those are images to Core ML, and no value of the program.
    """
    if any(contract.dtype == "uint8" for contract in artifact.passport.inputs):
        raise TargetUnavailableError(
            f"{artifact.path}: takes images of bytes, whose conversion is Core ML's own; bisect the same "
            "network exported with the float contract"
        )
    return CoreMlParts(Package.open(artifact.model_path))
