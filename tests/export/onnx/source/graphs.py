"""Small ONNX models for the tests of this folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]
Shape = Sequence[int | str | None]


def model_of(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Shape],
    outputs: Sequence[str],
    constants: Mapping[str, Any] | None = None,
    *,
    opset: int = 20,
    kind: int = TensorProto.FLOAT,
    functions: Sequence[onnx.FunctionProto] = (),
) -> onnx.ModelProto:
    """A model whose outputs have the type of its inputs and shapes that inference finds."""
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, kind, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    imports = [helper.make_opsetid("", opset)] + [helper.make_opsetid(f.domain, 1) for f in functions]
    return helper.make_model(graph, opset_imports=imports, ir_version=10, functions=list(functions))


def dft(
    shape: Shape,
    axis: int | None = None,
    *,
    inverse: bool = False,
    onesided: bool = False,
    length: int | None = None,
    opset: int = 20,
    kind: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """One DFT node, from x to y."""
    options: dict[str, int] = {"inverse": int(inverse), "onesided": int(onesided)}
    constants: dict[str, Any] = {}
    inputs = ["x"]
    if length is not None:
        constants["length"] = np.int64(length)
        inputs.append("length")
    if axis is not None and opset >= 20:
        constants["axis"] = np.int64(axis)
        inputs += [""] * (2 - len(inputs)) + ["axis"]
    elif axis is not None:
        options["axis"] = axis
    node = helper.make_node("DFT", inputs, ["y"], "transform", **options)
    return model_of([node], {"x": shape}, ["y"], constants, opset=opset, kind=kind)


def run(model: onnx.ModelProto, **feeds: Array) -> list[Array]:
    """What ONNX Runtime makes of it; the file is checked first."""
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    results: list[Array] = session.run(None, feeds)
    return results


def complex_of(x: Array) -> Array:
    """Complex values of an array whose last dimension holds their parts."""
    result: Array = x[..., 0] + 1j * x[..., 1] if x.shape[-1] == 2 else x[..., 0] + 0j
    return result


def parts_of(z: Array) -> Array:
    """The reverse."""
    return np.stack([z.real, z.imag], axis=-1)


def noise(*shape: int) -> Array:
    """Numbers around zero, the same every time."""
    result: Array = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    return result
