"""int8 files whose floats are float16, and files that round as a device does which computes in float16."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from fdikp_edge.export.onnx.half import has_half, narrow, narrow_remainder
from fdikp_edge.runtime.sessions.onnx_rounding import round_values
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]
SHAPE = (1, 8, 6, 6)


def run(model: onnx.ModelProto, x: Array) -> Array:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    result: Array = session.run(None, {"x": x})[0]
    return result


def model_of(nodes: list[Any], constants: Mapping[str, Any]) -> onnx.ModelProto:
    for node in nodes:
        if node.name:
            entry = node.metadata_props.add()
            entry.key, entry.value = "node", node.name
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in "xy"]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def quantised(weight_step: float = 0.01) -> onnx.ModelProto:
    """A convolution in 8 bits between two operators in floats."""
    rng = np.random.default_rng(0)
    constants = {
        "gain": np.float32(0.7),
        "s": np.float32(0.02),
        "z": np.int8(0),
        "w": rng.integers(-127, 128, (8, 8, 3, 3), dtype=np.int8),
        "ws": (0.5 + rng.random(8, dtype=np.float32)) * np.float32(weight_step),
        "wz": np.zeros(8, np.int8),
    }
    nodes = [
        helper.make_node("Mul", ["x", "gain"], ["before"], name="mul"),
        helper.make_node("QuantizeLinear", ["before", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["in"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wf"], axis=0),
        helper.make_node("Conv", ["in", "wf"], ["conv"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Tanh", ["conv"], ["y"], name="tanh"),
    ]
    return model_of(nodes, constants)


def types(model: onnx.ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    return {value.name: value.type.tensor_type.elem_type for value in inferred.graph.value_info}


X = np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)


def test_everything_but_8_bits_is_float16() -> None:
    model = quantised()
    before = run(model, X)
    counts = narrow_remainder(model, ())
    onnx.checker.check_model(model, full_check=True)
    kinds = types(model)
    assert {kinds[name] for name in ("before", "in", "wf", "conv")} == {TensorProto.FLOAT16}
    assert kinds["q"] == TensorProto.INT8 and has_half(model)
    assert [node.op_type for node in model.graph.node].count("Cast") == counts["casts"] == 2  # at the ports
    assert 0 < np.abs(run(model, X) - before).mean() < 0.002


def test_islands_stay_float32_with_their_8_bit_values() -> None:
    model = quantised()
    narrow_remainder(model, {"conv"})
    onnx.checker.check_model(model, full_check=True)
    kinds = types(model)
    assert {kinds[name] for name in ("in", "wf", "conv")} == {TensorProto.FLOAT}
    assert kinds["before"] == TensorProto.FLOAT16
    layer = next(node for node in model.graph.node if node.op_type == "Conv")
    assert list(layer.input) == ["in", "wf"], "no cast stands between the 8-bit values and their layer"


def test_a_step_that_float16_cannot_hold_keeps_its_layer_in_float32() -> None:
    model = quantised(weight_step=3e-7)
    narrow_remainder(model, ())
    onnx.checker.check_model(model, full_check=True)
    kinds = types(model)
    assert {kinds[name] for name in ("in", "wf", "conv")} == {TensorProto.FLOAT}
    layer = next(node for node in model.graph.node if node.op_type == "Conv")
    assert list(layer.input) == ["in", "wf"]


def test_an_emulated_file_rounds_every_value_as_float16_does() -> None:
    nodes = [
        helper.make_node("Mul", ["x", "a"], ["m"], name="mul"),
        helper.make_node("Add", ["m", "b"], ["n"], name="add"),
        helper.make_node("Mul", ["n", "n"], ["y"], name="square"),
    ]
    model = model_of(nodes, {"a": np.float32(1 / 3), "b": np.float32(0.1)})
    narrow(model, ())
    assert round_values(model) > 3
    onnx.checker.check_model(model, full_check=True)
    assert not has_half_tensors(model)
    x = X.astype(np.float16)
    m = x * np.float16(np.float32(1 / 3))
    n = m + np.float16(np.float32(0.1))
    np.testing.assert_array_equal(run(model, X), (n * n).astype(np.float32))


def has_half_tensors(model: onnx.ModelProto) -> bool:
    return any(tensor.data_type == TensorProto.FLOAT16 for tensor in model.graph.initializer)


@pytest.mark.parametrize("islands", [(), ("conv",)])
def test_an_emulated_int8_file_is_as_far_off_as_float16_is(islands: tuple[str, ...]) -> None:
    plain, model = quantised(), quantised()
    narrow_remainder(model, islands)
    round_values(model)
    onnx.checker.check_model(model, full_check=True)
    off = np.abs(run(model, X) - run(plain, X)).mean()  # the largest is a rounding that fell the other way
    assert 0 < off < 0.002
