"""float16 files: every operand of a node has the type that the standard asks for, wherever islands lie."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from fdikp_edge.export.calibrate import calibrate
from fdikp_edge.export.lowered import lower_model
from fdikp_edge.export.onnx import build as target
from fdikp_edge.export.onnx import checks
from fdikp_edge.export.onnx.half import narrow, narrow_to_bfloat16
from fdikp_edge.export.openvino import build as openvino_target
from fdikp_edge.runtime.pixels import psnr_db
from fdikp_edge.runtime.sessions import onnx_rounding
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

SIZE = (16, 16)
THRESHOLD = 0.9


class Masked(nn.Module):
    """Filters the places where a picture is bright: a comparison of an activation with a number."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.mix = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mix((x.mean(1, keepdim=True) > THRESHOLD).float().expand_as(x))


class Choices(nn.Module):
    """Comparisons, selections, limits and powers, of activations with numbers, parameters and each other."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.mix = nn.Conv2d(3, 3, 1)
            self.limit = nn.Parameter(torch.rand(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.mix(x)
        bright, equal = x > self.limit, torch.eq(x, y) | torch.ne(y, 0.25)
        chosen = torch.where(bright & equal, x, y) + torch.where(y <= x, self.limit, torch.tensor(0.5))
        limited = torch.clamp(chosen, self.limit, self.limit + 0.5) + y.clamp(-0.25, 0.75)
        powers = x.abs().pow(2.5) + (x.abs() + 0.5) ** y + torch.maximum(x, y) - torch.minimum(y, self.limit)
        finite = torch.where(torch.isinf(y) | torch.isnan(x), torch.zeros_like(x), powers)
        return limited + finite + x.masked_fill(y < 0.1, 0.25)


class Moves(nn.Module):
    """Joins, cuts, gathers, sorts, resizes and sums, some with whole-number results."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.slope = nn.Parameter(torch.rand(3))
            self.norm = nn.LayerNorm(16)
            self.register_buffer("order", torch.tensor([2, 0, 1]))

    def forward(self, x: Tensor) -> Tensor:
        joined = torch.cat([x, self.slope.reshape(1, 3, 1, 1).expand_as(x), F.prelu(x - 0.5, self.slope)], 1)
        first, second, third = joined[:, self.order].chunk(3, 1)
        best, places = joined.max(1, keepdim=True)
        picked = torch.gather(x, 1, (places % 3).expand(1, 3, 16, 16))
        large = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        small = F.avg_pool2d(F.pad(large, (1, 1, 1, 1), mode="reflect"), 2)[..., :16, :16]
        counted = (x > 0.5).sum(1, keepdim=True).float() / 3 + torch.argmin(x, 1, keepdim=True) * 0.25
        product = torch.einsum("bchw,bcwk->bchk", x, self.norm(x)) / 16
        summed = F.celu(x - 0.5).cumsum(-1) / 16 + torch.round(x * 4) + torch.remainder(x, 0.25)
        return first + second + third + best + picked + small + counted + product + summed


NETWORKS: dict[str, type[nn.Module]] = {"masked": Masked, "choices": Choices, "moves": Moves}


@cache
def converted(name: str) -> tuple[onnx.ModelProto, tuple[str, ...], torch.export.ExportedProgram]:
    lowered = lower_model(NETWORKS[name]().eval(), SIZE, name=name).lowered
    graph, _ = target.convert(lowered.program)
    names = tuple(node.name for node in lowered.program.graph.nodes if node.op == "call_function")
    return graph, names, lowered.program


def copy_of(graph: onnx.ModelProto) -> onnx.ModelProto:
    copied = onnx.ModelProto()
    copied.CopyFrom(graph)
    return copied


def run(graph: onnx.ModelProto, *arrays: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    given = dict(zip((port.name for port in session.get_inputs()), arrays, strict=True))
    results: list[np.ndarray[Any, Any]] = session.run(None, given)
    return results


def in_openvino(graph: onnx.ModelProto, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    import openvino

    model = openvino_target.convert(graph.SerializeToString())
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    result: np.ndarray[Any, Any] = compiled([x])[0]
    return result


def picture(seed: int) -> np.ndarray[Any, Any]:
    """Noise without values near a threshold, so that rounding to float16 changes no comparison with one."""
    x = np.random.default_rng(seed).random((1, 3, *SIZE), dtype=np.float32)
    return np.where(np.abs(x.mean(1, keepdims=True) - THRESHOLD) < 0.01, np.float32(0.5), x)


@settings(max_examples=25)
@given(data=st.data())
@pytest.mark.parametrize("name", NETWORKS)
def test_types_agree_wherever_the_islands_lie(name: str, data: st.DataObject) -> None:
    graph, names, _ = converted(name)
    islands = data.draw(st.sets(st.sampled_from(names)))
    half = copy_of(graph)
    narrow(half, islands)
    checks.check(half, [])  # the checker, with full and strict inference of types
    # No runtime but the one that compares two rounded values can tell which is larger: shapes and sizes only.
    (output,) = run(half, picture(1))
    assert np.isfinite(output).all()


@pytest.mark.parametrize("islands", ["none", "half", "all"])
@pytest.mark.parametrize("name", NETWORKS)
def test_files_compute_what_the_network_does_in_both_runtimes(name: str, islands: str) -> None:
    graph, names, program = converted(name)
    half, x = copy_of(graph), picture(2)
    narrow(half, {"none": (), "half": names[::2], "all": names}[islands])
    expected = program.module()(torch.from_numpy(x)).detach().numpy()
    spread = np.abs(expected).max()
    for output in (run(half, x)[0], in_openvino(half, x)):
        # Two activations that are almost equal may compare otherwise once rounded.
        assert np.mean(np.abs(output - expected) > 4e-3 * spread) < (1e-3 if islands == "all" else 2e-2)


def test_a_comparison_reads_its_threshold_in_full() -> None:
    graph, _, _ = converted("masked")
    half = copy_of(graph)
    narrow(half, ())
    stored = {tensor.name: tensor for tensor in half.graph.initializer}
    (greater,) = (node for node in half.graph.node if node.op_type == "Greater")
    assert numpy_helper.to_array(stored[greater.input[1]]) == np.float32(THRESHOLD)
    nodes = {name: node for node in half.graph.node for name in node.output}
    assert nodes[greater.input[0]].op_type == "Cast"


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_a_masked_network_is_built_in_float16(name: str, tmp_path: Any) -> None:
    model = lower_model(Masked().eval(), SIZE, name="masked", profile=name)
    half, _ = target.convert_to(model.lowered, "fp16", calibrate(model, count=4))
    kinds = {tensor.data_type for tensor in half.graph.initializer if len(tensor.dims) == 4}
    assert TensorProto.FLOAT16 in kinds
    x = picture(3)
    expected = model.lowered.program.module()(torch.from_numpy(x)).detach().numpy()
    output = run(half, x)[0] if name == "onnx" else in_openvino(half, x)
    assert psnr_db(output, expected) > 60


FLOATS = {"Celu": 1, "IsInf": 1, "IsNaN": 1, "ArgMax": 1, "Equal": 2, "Greater": 2, "GreaterOrEqual": 2}
FLOATS |= {"Less": 2, "LessOrEqual": 2, "Pow": 2, "Max": 3, "Min": 2, "Mean": 2, "Sum": 3, "Mod": 2}
FLOATS |= {"Clip": 3, "Where": 3, "Concat": 3, "PRelu": 2, "MatMul": 2, "Gemm": 3, "Einsum": 2, "Add": 2}
ATTRIBUTES: dict[str, dict[str, Any]] = {
    "Concat": {"axis": 0},
    "Mod": {"fmod": 1},
    "Einsum": {"equation": "ij,jk->ik"},
    "ArgMax": {"axis": 1, "keepdims": 1},
}


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_each_operator_may_read_and_feed_either_type(data: st.DataObject) -> None:
    """One operator, each operand from float16, from an island, or stored, feeding both."""
    operator = data.draw(st.sampled_from(sorted(FLOATS)))
    count = FLOATS[operator]
    limits = operator == "Clip"  # whose limits are single numbers
    sources = [
        data.draw(st.sampled_from(["activation", "stored"] if place else ["activation"]))
        for place in range(count)
    ]
    islands = data.draw(st.sets(st.sampled_from([*(f"n{place}" for place in range(count)), "op", "after"])))
    nodes, tensors, names = [], [], []
    random = np.random.default_rng(count)
    for place, source in enumerate(sources):
        value = np.float32(place) if limits and place else random.random((4, 4), dtype=np.float32) + 0.25
        single = limits and place > 0
        names.append(f"v{place}")
        if source == "stored":
            tensors.append(numpy_helper.from_array(np.asarray(value), f"v{place}"))
            continue
        reads = "x" if not single else f"mean{place}"
        if single:
            nodes.append(node_of("ReduceMean", ["x"], [reads], f"n{place}", keepdims=0))
        nodes.append(node_of("Abs", [reads], [f"v{place}"], f"n{place}"))
    if operator == "Where":
        nodes.append(node_of("Greater", ["v0", "v1"], ["bright"], "op"))
        names[0] = "bright"
    nodes.append(node_of(operator, names, ["z"], "op", **ATTRIBUTES.get(operator, {})))
    decides = operator in ("IsInf", "IsNaN", "ArgMax", "Equal") or operator.startswith(("Greater", "Less"))
    if decides:
        nodes.append(node_of("Cast", ["z"], ["zf"], "after", to=TensorProto.FLOAT))
    nodes.append(node_of("Neg", ["zf" if decides else "z"], ["t"], "after"))
    nodes.append(node_of("ReduceSum", ["t"], ["y"], "last", keepdims=0))
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (4, 4))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ())],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    x = random.random((4, 4), dtype=np.float32)
    (expected,) = run(model, x)
    narrow(model, islands)
    checks.check(model, [])
    (output,) = run(model, x)
    assert output == pytest.approx(expected, rel=5e-3, abs=5e-3)


def node_of(operator: str, inputs: list[str], outputs: list[str], name: str, **more: Any) -> onnx.NodeProto:
    node = helper.make_node(operator, inputs, outputs, name=f"{outputs[0]}_{operator}", **more)
    entry = node.metadata_props.add()
    entry.key, entry.value = checks.NODE_KEY, name
    return node


@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16_too_gives_every_operand_the_type_of_the_standard(name: str) -> None:
    graph, _, _ = converted(name)
    narrow = copy_of(graph)
    counts = narrow_to_bfloat16(narrow)
    onnx.checker.check_model(narrow, full_check=True)
    assert counts["bfloat16"] > counts["float32"] >= 0
    rewritten = onnx.load_from_string(onnx_rounding.rounded_file(narrow.SerializeToString()))
    x = np.random.default_rng(0).random((1, 3, 16, 16), dtype=np.float32)
    (expected,), (result,) = run(graph, x), run(rewritten, x)
    off = np.abs(result - expected) / np.abs(expected).max()
    assert 0 < np.median(off) < 1e-2, "nearly all values; a comparison or a remainder may fall the other way"
