"""The reference of an ONNX source: the original file, in ONNX Runtime and in ONNX's reference evaluator."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ....runtime.errors import TargetUnavailableError
from ..checks import nodes as all_nodes
from .scopes import infer

if TYPE_CHECKING:
    import onnx

Array = np.ndarray[Any, Any]
Arithmetic = Literal["float32", "float64"]

MOST_WORK = 2e8
"""Multiply-adds up to which the reference evaluator, which is plain NumPy, is asked."""
MOST_VALUES = 5e7
"""Values of all tensors together up to which it is asked."""


class OnnxReference:
    """Runs an original ONNX model, arrays in and arrays out, by name.

    In float32 it runs in ONNX Runtime where that takes the file, else in ONNX's reference evaluator; in
    float64 in the reference evaluator, with every stored float turned to double. The evaluator is slow: it is
    asked for small networks only.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        """Take a checked model; it is not changed."""
        self._model = model

    @cached_property
    def runtime_problem(self) -> str:
        """Why ONNX Runtime does not run the file; empty if it opens it."""
        return "" if isinstance(self._session, _Runtime) else self._session

    @cached_property
    def evaluator_problem(self) -> str:
        """Why the reference evaluator is not asked; empty if it is."""
        work, values = _size(self._model)
        if work > MOST_WORK or values > MOST_VALUES:
            return (
                f"{work:.1e} multiply-adds and {values:.1e} values are too many for the reference evaluator"
            )
        return ""

    def __call__(self, feeds: Mapping[str, Array], arithmetic: Arithmetic = "float32") -> dict[str, Array]:
        """Return every output by name; floats in ``arithmetic``.

        Raises:
            TargetUnavailableError: nothing here runs the file in this arithmetic; says why.
        """
        if arithmetic == "float32" and isinstance(self._session, _Runtime):
            return self._session(feeds)
        return self.evaluate(feeds, arithmetic)

    def evaluate(self, feeds: Mapping[str, Array], arithmetic: Arithmetic = "float64") -> dict[str, Array]:
        """Return what the reference evaluator makes of the inputs.

        Raises:
            TargetUnavailableError: the network is too large for it, or it does not run it.
        """
        if self.evaluator_problem:
            raise TargetUnavailableError(self.evaluator_problem)
        model = in_double(self._model) if arithmetic == "float64" else self._model
        given = {name: _as(value, arithmetic) for name, value in feeds.items()}
        from onnx.reference import ReferenceEvaluator

        try:
            results = ReferenceEvaluator(model).run(None, given)
        except Exception as error:  # whatever an operator without an implementation raises
            raise TargetUnavailableError(
                f"the reference evaluator does not run the file: {_message(error)}"
            ) from error
        names = [port.name for port in model.graph.output]
        return {name: _as(np.asarray(value), arithmetic) for name, value in zip(names, results, strict=True)}

    @cached_property
    def _session(self) -> _Runtime | str:
        return open_runtime(self._model)


class _Runtime:
    """A model in ONNX Runtime, on the CPU."""

    def __init__(self, model: onnx.ModelProto) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.log_severity_level = 4
        self._session: Any = ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"], enable_fallback=0
        )

    def __call__(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        try:
            results = self._session.run(None, dict(feeds))
        except Exception as error:  # its errors share no base class
            raise TargetUnavailableError(f"ONNX Runtime does not run the file: {_message(error)}") from error
        return {port.name: value for port, value in zip(self._session.get_outputs(), results, strict=True)}


def open_runtime(model: onnx.ModelProto) -> _Runtime | str:
    """Return the model in ONNX Runtime, or why that does not take it."""
    try:
        return _Runtime(model)
    except Exception as error:  # its errors share no base class
        return f"ONNX Runtime does not take the file: {_message(error)}"


def in_double(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy with every float32 turned to float64: what is stored, what is fed, what casts make."""
    from onnx import ModelProto, TensorProto, helper, numpy_helper

    double = ModelProto()
    double.CopyFrom(model)
    del double.graph.value_info[:]

    def widen(tensor: Any) -> None:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(
                numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name)
            )

    graphs = [double.graph]
    for node in all_nodes(double):
        for attribute in node.attribute:
            graphs += [graph for graph in (attribute.g, *attribute.graphs) if graph.node]
            if attribute.HasField("t"):
                widen(attribute.t)
            if attribute.name in ("to", "dtype", "output_datatype") and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.DOUBLE
        plain = {entry.name: entry for entry in node.attribute}
        windows = node.op_type.endswith("Window") or node.op_type == "MelWeightMatrix"
        if windows and "output_datatype" not in plain:
            node.attribute.append(helper.make_attribute("output_datatype", TensorProto.DOUBLE))
        if node.op_type == "Constant" and ("value_float" in plain or "value_floats" in plain):
            numbers = helper.get_attribute_value(node.attribute[0])
            del node.attribute[:]
            value = numpy_helper.from_array(np.array(numbers, np.float64))
            node.attribute.append(helper.make_attribute("value", value))
    for graph in graphs:
        for tensor in graph.initializer:
            widen(tensor)
        for port in (*graph.input, *graph.output):
            if port.type.tensor_type.elem_type == TensorProto.FLOAT:
                port.type.tensor_type.elem_type = TensorProto.DOUBLE
    return double


def _as(value: Array, arithmetic: Arithmetic) -> Array:
    return value.astype(arithmetic) if value.dtype.kind == "f" else value


def _message(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]:.300}" if lines else type(error).__name__


def _size(model: onnx.ModelProto) -> tuple[float, float]:
    """Return multiply-adds of convolutions and products, and values of all tensors; open sizes count 1."""
    graph = infer(model)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    for info in (*graph.value_info, *graph.input, *graph.output):
        if info.type.HasField("tensor_type"):
            shapes[info.name] = tuple(max(1, dim.dim_value) for dim in info.type.tensor_type.shape.dim)
    work = 0.0
    for node in graph.node:
        count = math.prod(map(float, shapes.get(node.output[0], (1,)))) if node.output else 0.0
        if node.op_type in ("MatMul", "Gemm"):
            work += count * (shapes.get(node.input[0], (1,)) or (1,))[-1]
        elif node.op_type in ("Conv", "ConvTranspose") and len(node.input) > 1:
            work += count * math.prod(map(float, shapes.get(node.input[1], (1,))[1:]))
    return work, sum(math.prod(map(float, shape)) for shape in shapes.values())
