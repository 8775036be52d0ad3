"""The worker's changes to a converted file, on one that the converter made (`phone_net.py`), with LiteRT."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fdikp_edge.export.litert.worker.finish import finish
from fdikp_edge.export.litert.worker.graph import Graph
from fdikp_edge.export.litert.worker.marks import lost_marks, mark, marked_operators
from fdikp_edge.runtime.outside.tflite import TfliteModel, read_tflite

interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="ai-edge-litert is not installed")
DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def stored() -> Any:
    return np.load(DATA / "marked.npz")


def request(**changes: Any) -> dict[str, Any]:
    return {**json.loads((DATA / "marked.json").read_text()), **changes}


def graph() -> Graph:
    return Graph.read((DATA / "marked.tflite").read_bytes())


def biases(stored: Any) -> dict[int, Any]:
    return {int(name): stored[name] for name in stored.files if name.isdigit()}


def run(data: bytes, x: Any, *, plain_kernels: bool = False) -> Any:
    kinds = interpreter.OpResolverType
    kernels = kinds.BUILTIN_REF if plain_kernels else kinds.AUTO
    made_by = interpreter.Interpreter(
        model_content=data, num_threads=1, experimental_op_resolver_type=kernels
    ).get_signature_runner()
    return next(iter(made_by(image=x).values()))


def rms(value: Any) -> float:
    return float(np.sqrt(np.mean(np.square(value))))


def written(stored: Any) -> tuple[bytes, TfliteModel]:
    # The converter merged the last layer with a scale. The worker would convert again without its mark; here
    # the mark, which is scaled now, is replaced in the file.
    values, own = request(), graph()
    (lost,) = lost_marks(own, range(len(values["layers"])))
    for operator in own.operators:
        bias = own.constant(operator.inputs[2]) if len(operator.inputs) > 2 else None
        if bias is not None and bias.dtype == np.float32 and np.allclose(bias, 0.2 * mark(lost)):
            scaled = np.float32(0.2) * biases(stored)[lost]
            operator.inputs = [*operator.inputs[:2], own.add_constant(int(operator.inputs[2]), "", scaled)]
            break
    else:
        raise AssertionError("the merged layer is not in the file")
    data, facts = finish(own, values, biases(stored))
    assert facts == {"halved": 0, "floats": []}
    return data, read_tflite(data)


@pytest.mark.parametrize("plain_kernels", [False, True])
def test_a_file_in_8_bits_computes_what_pytorch_rounds(stored: Any, plain_kernels: bool) -> None:
    data, _ = written(stored)
    result = run(data, stored["x"], plain_kernels=plain_kernels)
    rounding = rms(stored["emulated"] - stored["plain"])
    assert rms(result - stored["emulated"]) < 0.6 * rounding, "as far off as rounding itself"
    assert 0.5 * rounding < rms(result - stored["plain"]) < 1.5 * rounding


def test_values_stay_in_8_bits_between_convolutions(stored: Any) -> None:
    _, model = written(stored)
    kinds = Counter((operator.name, model.tensors[operator.outputs[0]].dtype) for operator in model.operators)
    assert kinds["CONV_2D", "int8"] == 6 and kinds["DEPTHWISE_CONV_2D", "int8"] == 2
    assert kinds["LEAKY_RELU", "int8"] == kinds["ADD", "int8"] == kinds["PAD", "int8"] == 1
    assert kinds["CONCATENATION", "int8"] == 1
    assert kinds["DEQUANTIZE", "float32"] == 1, "something else than the product reads floats"
    assert kinds["QUANTIZE", "int8"] == 3, "the picture, and two steps to one before they are joined"
    narrow = [operator for operator in model.operators if operator.name == "FULLY_CONNECTED"]
    assert [model.tensors[place].dtype for place in narrow[0].inputs] == ["float32", "int8", "float32"]


def test_weights_are_stored_once_and_no_others_are_left(stored: Any) -> None:
    _, model = written(stored)
    weights = [one for one in model.tensors if one.constant and one.dtype == "int8"]
    shapes = sorted(one.shape for one in weights)
    assert shapes.count((8, 3, 3, 8)) == 1, "weights that are read at two sizes"
    floats = sum(np.prod(one.shape) for one in model.tensors if one.constant and one.dtype == "float32")
    assert floats == 3 * 9 * 8 + 3 + 8, "the last layer, and the bias of the product"
    for tensor in weights:
        assert len(tensor.scales) == tensor.shape[tensor.axis]


def test_a_layer_that_the_converter_merged_is_missed(stored: Any) -> None:
    layers = request()["layers"]
    lost = lost_marks(graph(), range(len(layers)))
    assert [layers[place]["channels"] for place in lost] == [3]
    operators = marked_operators(graph(), range(len(layers)))
    assert sorted(operators) == [place for place in range(len(layers)) if place not in lost]


def test_a_bias_that_has_too_many_steps_keeps_its_layer_in_floats(stored: Any) -> None:
    values, large = request(), biases(stored)
    place = next(place for place, row in enumerate(values["layers"]) if "input" in row)
    large[place] = large[place] + np.float32(1e9)
    data, facts = finish(graph(), values, large)
    assert facts["floats"] == [place]
    model = read_tflite(data)
    first = next(one for one in model.operators if one.name == "CONV_2D")
    assert model.tensors[first.inputs[1]].dtype == "float32"


def test_names_and_facts_are_written(stored: Any) -> None:
    data, facts = finish(graph(), request(layers=[], half=True), {})
    model = read_tflite(data)
    assert model.signature == "serving_default" and model.description == "for tests"
    assert list(model.inputs) == ["image"] and model.metadata["fdikp_edge"] == b"{}"
    halves = [one for one in model.tensors if one.dtype == "float16"]
    assert len(halves) == facts["halved"] > 0
    assert {one.shape for one in halves} == {(8, 3, 3, 8), (8, 1, 1, 16), (32, 1, 1, 8), (3, 3, 3, 8)} | {
        (8, 3, 3, 3),
        (1, 3, 3, 8),
        (8, 1, 1, 8),
        (8, 8),
    }
