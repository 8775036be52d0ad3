"""Any part of a built ``model.onnx``, extracted as a model of its own and run as a session runs the whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...runtime.artifact import Artifact
from ...runtime.errors import ArtifactError
from ...runtime.photo import Array
from ...runtime.sessions.onnx_guard import check_external_data
from ...runtime.sessions.onnxruntime_session import session_options
from ..cutting.parts import Step
from .checks import source_node

if TYPE_CHECKING:
    import onnx

_TRANSPARENT = {"Cast", "QuantizeLinear", "DequantizeLinear", "Identity"}


class OnnxParts:
    """See :class:`~fdikp_edge.export.cutting.parts.Parts`."""

    def __init__(self, model: onnx.ModelProto, threads: int) -> None:
        """Take a checked model; ``threads`` are for each part that runs."""
        import onnx

        self.model = model
        self.threads = threads
        self.inputs = tuple(port.name for port in model.graph.input)
        self.outputs = tuple(port.name for port in model.graph.output)
        inferred = onnx.shape_inference.infer_shapes(model).graph
        self.infos = {v.name: v for v in (*inferred.value_info, *inferred.input, *inferred.output)}
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.steps = self._steps()

    def _steps(self) -> list[Step]:
        from onnx import TensorProto

        quantised: set[str] = set()
        steps = []
        for node in self.model.graph.node:
            if node.op_type == "DequantizeLinear":
                quantised.update(node.output)
            reads = tuple(name for name in node.input if name and name not in self.constants)
            kinds = {
                self.infos[name].type.tensor_type.elem_type for name in node.output if name in self.infos
            }
            words = {TensorProto.DataType.Name(kind).lower() for kind in kinds}
            eight = len(node.input) > 1 and set(node.input[:2]) <= quantised
            name = "int8" if eight else "/".join(sorted(words)).replace("float", "float32", 1)
            precision = "float16" if words == {"float16"} else name
            shapes = tuple(self._shape(name) for name in node.output)
            transparent = node.op_type in _TRANSPARENT and not source_node(node)
            steps.append(
                Step(
                    source_node(node), node.op_type, reads, tuple(node.output), shapes, precision, transparent
                )
            )
        return steps

    def _shape(self, name: str) -> tuple[int, ...]:
        info = self.infos.get(name)
        return () if info is None else tuple(d.dim_value for d in info.type.tensor_type.shape.dim)

    def run(self, given: Mapping[str, Array], wanted: Sequence[str]) -> dict[str, Array]:
        """Compute ``wanted`` from ``given`` in ONNX Runtime."""
        import onnxruntime as ort
        from onnx import helper

        done = {name: value for name, value in given.items() if name in wanted}
        names = [name for name in dict.fromkeys(wanted) if name not in done]
        if names:
            part = self._extract(set(given), names)
            session = ort.InferenceSession(
                part.SerializeToString(), session_options(self.threads), providers=["CPUExecutionProvider"]
            )
            feeds = {}
            for port in part.graph.input:
                kind = helper.tensor_dtype_to_np_dtype(port.type.tensor_type.elem_type)
                with np.errstate(over="ignore"):
                    feeds[port.name] = np.ascontiguousarray(given[port.name].astype(kind))
            done |= dict(zip(names, session.run(names, feeds), strict=True))
        return {name: _float32(done[name]) for name in wanted}

    def _extract(self, given: set[str], wanted: list[str]) -> onnx.ModelProto:
        import onnx

        needed, nodes = set(wanted), []
        for node in reversed(self.model.graph.node):
            if needed & (set(node.output) - given):
                nodes.append(node)
                needed.update(name for name in node.input if name)
        read = {name for node in nodes for name in node.input}
        graph = onnx.helper.make_graph(
            nodes[::-1],
            "part",
            [self.infos[name] for name in sorted(given & read)],
            [self.infos[name] for name in wanted],
            [tensor for name, tensor in self.constants.items() if name in read],
        )
        return onnx.helper.make_model(
            graph, opset_imports=self.model.opset_import, ir_version=self.model.ir_version
        )


def open_parts(artifact: Artifact, threads: int) -> OnnxParts:
    """Read an artifact's model; see :class:`~fdikp_edge.export.cutting.parts.Opener`."""
    import onnx

    check_external_data(artifact)
    try:
        model = onnx.load(artifact.model_path)
        onnx.checker.check_model(model)
    except Exception as error:  # DecodeError, ValidationError
        raise ArtifactError(f"{artifact.model_path}: not valid ONNX: {str(error).splitlines()[0]}") from error
    return OnnxParts(model, threads)


def _float32(value: Any) -> Array:
    array: Array = np.asarray(value)
    return array.astype(np.float32) if array.dtype.kind == "f" else array
