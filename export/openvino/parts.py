"""Any part of a built OpenVINO model, between values that become its parameters and its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...runtime import strict_json
from ...runtime.artifact import Artifact
from ...runtime.errors import ArtifactError
from ...runtime.photo import Array
from ...runtime.sessions.openvino_session import compile_config
from ..cutting.parts import Step
from .build import NODES

if TYPE_CHECKING:
    import openvino

_TRANSPARENT = {"Convert", "FakeQuantize", "Identity"}
_PRECISIONS = {"f32": "float32", "f16": "float16", "i8": "int8", "u8": "uint8"}


class OpenVinoParts:
    """See :class:`~fdikp_edge.export.cutting.parts.Parts`. A value is called after its operator and port."""

    def __init__(self, artifact: Artifact, threads: int) -> None:
        """Read the model.

        Raises:
            ArtifactError: it does not say which operator came from where.
        """
        self.artifact = artifact
        self.threads = threads
        model = self._read()
        try:
            labels = strict_json.parse(model.get_rt_info(["fdikp_edge", NODES]).astype(str).encode())
        except (RuntimeError, ValueError) as error:
            raise ArtifactError(
                f"{artifact.path}: does not say which operator came from where, as older releases left it; "
                "export the artifact again"
            ) from error
        self.labels: dict[str, Any] = labels if isinstance(labels, dict) else {}
        self.inputs = tuple(map(_name, model.inputs))
        self.outputs = tuple(_name(port.get_node().input_value(0)) for port in model.outputs)
        self.steps = [self._step(op) for op in model.get_ordered_ops() if op.get_type_name() not in _ENDS]

    def _read(self) -> openvino.Model:
        import openvino

        path = self.artifact.model_path
        try:
            return openvino.Core().read_model(model=str(path), weights=str(path.with_suffix(".bin")))
        except Exception as error:  # RuntimeError and others, by the version
            raise ArtifactError(f"{path}: OpenVINO cannot read it: {str(error).splitlines()[0]}") from error

    def _step(self, op: Any) -> Step:
        sources = [op.input_value(i) for i in range(op.get_input_size())]
        known = [source for source in sources if source.get_node().get_type_name() != "Constant"]
        eight = bool(sources) and sources[0].get_node().get_type_name() == "FakeQuantize"
        names = [name for port in op.outputs() for name in sorted(port.get_names()) if name in self.labels]
        kind = op.output(0).get_element_type().get_type_name()
        return Step(
            label=str(self.labels[names[0]]) if names else "",
            kind=op.get_type_name(),
            reads=tuple(map(_name, known)),
            makes=tuple(map(_name, op.outputs())),
            shapes=tuple(tuple(port.get_shape()) for port in op.outputs()),
            precision="int8" if eight else _PRECISIONS.get(kind, kind),
            transparent=op.get_type_name() in _TRANSPARENT and not names,
        )

    def run(self, given: Mapping[str, Array], wanted: Sequence[str]) -> dict[str, Array]:
        """Compute ``wanted`` from ``given`` on the CPU."""
        import openvino
        from openvino import opset13 as operators

        done = {name: value for name, value in given.items() if name in wanted}
        names = [name for name in dict.fromkeys(wanted) if name not in done]
        if names:
            model = self._read()
            ports = {_name(port): port for op in model.get_ops() for port in op.outputs()}
            parameters, feeds = [], []
            for name, value in given.items():
                parameter = operators.parameter(value.shape, ports[name].get_element_type())
                for reader in ports[name].get_target_inputs():
                    reader.replace_source_output(parameter.output(0))
                parameters.append(parameter)
                feeds.append(np.ascontiguousarray(value.astype(ports[name].get_element_type().to_dtype())))
            results = [operators.result(ports[name]) for name in names]
            part = openvino.Model(results, parameters, "part")
            compiled = openvino.Core().compile_model(part, "CPU", compile_config(self.threads))
            inferred = compiled.create_infer_request().infer(feeds)
            done |= {name: np.array(inferred[i]) for i, name in enumerate(names)}
        floats = {name: value for name, value in done.items() if value.dtype.kind == "f"}
        return {**done, **{name: value.astype(np.float32) for name, value in floats.items()}}


_ENDS = {"Constant", "Parameter", "Result"}


def open_parts(artifact: Artifact, threads: int) -> OpenVinoParts:
    """Read an artifact's model; see :class:`~fdikp_edge.export.cutting.parts.Opener`."""
    return OpenVinoParts(artifact, threads)


def _name(port: Any) -> str:
    return f"{port.get_node().get_friendly_name()}:{port.get_index()}"
