"""Convolutions that WebGPU computes wrongly, as they are and as the target writes them, in a real browser."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from fdikp_edge.export.build import build_artifact
from fdikp_edge.export.lowered import lower_model
from fdikp_edge.export.targets import get_target
from fdikp_edge.export.web.webgpu import avoid_wrong_kernels, is_wrong
from fdikp_edge.runtime.artifact import Artifact, ArtifactWriter
from fdikp_edge.runtime.sessions import open_session
from fdikp_edge.runtime.web.browser import browser_problem
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

needs_browser = pytest.mark.skipif(browser_problem() is not None, reason=str(browser_problem()))


@dataclass(frozen=True)
class Case:
    """One convolution: its channels, and what else the kernel is chosen by."""

    channels: int
    results: int = 8
    kernel: tuple[int, ...] = (3, 3)
    stride: int = 1
    dilation: int = 1
    pad: int = 1
    group: int = 1
    bias: bool = True
    computed_weight: bool = False

    @property
    def attributes(self) -> dict[str, Any]:
        sides = len(self.kernel)
        return {
            **{"kernel_shape": self.kernel, "group": self.group, "pads": [self.pad] * 2 * sides},
            **{"strides": [self.stride] * sides, "dilations": [self.dilation] * sides},
        }

    @property
    def weight(self) -> tuple[int, ...]:
        return (self.results, self.channels // self.group, *self.kernel)


CASES = (
    *(Case(channels) for channels in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 18, 24, 27, 30, 36)),
    *(Case(6, results) for results in (1, 2, 3, 4, 5, 6, 12)),
    *(Case(6, kernel=(1, 1), pad=pad, stride=stride) for pad, stride in ((0, 1), (0, 2), (1, 1))),
    *(Case(9, kernel=kernel) for kernel in ((3, 1), (5, 5), (3,))),
    *(Case(6, stride=2), Case(6, dilation=2), Case(6, bias=False), Case(6, computed_weight=True)),
    *(Case(12, group=2), Case(6, 24, group=6)),
)
VALUES = 64
"""Values of each result that are compared."""


def model_of(shape: tuple[int, ...], ends: tuple[str, str]) -> onnx.ModelProto:
    """A model with each case side by side; its only result begins with :data:`VALUES` values of each."""
    rng = np.random.default_rng(0)
    constants: dict[str, np.ndarray] = {"many": np.array([1, 12, 1, 1]), "flat": np.array([-1])}
    constants |= {"zero": np.array([0]), "one": np.array([1]), "values": np.array([VALUES])}
    constants |= {"line": np.array([1, 0, -1]), "shape": np.array(shape), "half": np.float32([0.5])}
    spare = int(np.prod(shape)) - VALUES * len(CASES)
    assert spare >= 0
    constants |= {"spare": np.array([0, spare]), "scales": rng.standard_normal((1, 36, 1, 1)).astype("f")}
    nodes = [
        helper.make_node("Tile", [ends[0], "many"], ["tiled"]),
        helper.make_node("Mul", ["tiled", "scales"], ["maps"]),
    ]
    for k, case in enumerate(CASES):
        constants[f"c{k}"] = np.array([case.channels])
        constants[f"w{k}"] = rng.standard_normal(case.weight).astype("f")
        constants[f"b{k}"] = rng.standard_normal(case.results).astype("f")
        nodes.append(helper.make_node("Slice", ["maps", "zero", f"c{k}", "one"], [f"x{k}"]))
        x, weight = f"x{k}", f"w{k}"
        if len(case.kernel) == 1:
            constants[f"line{k}"] = np.array([1, case.channels, -1])
            nodes.append(helper.make_node("Reshape", [x, f"line{k}"], [x := f"line_x{k}"]))
        if case.computed_weight:
            nodes.append(helper.make_node("Clip", [ends[0], "low", "high"], [f"clipped{k}"]))
            nodes.append(helper.make_node("ReduceMax", [f"clipped{k}"], [f"most{k}"], keepdims=0))
            nodes.append(helper.make_node("Mul", [weight, f"most{k}"], [weight := f"computed{k}"]))
        inputs = [x, weight, f"b{k}"] if case.bias else [x, weight]
        nodes += [
            helper.make_node("Conv", inputs, [f"y{k}"], **case.attributes),
            helper.make_node("Reshape", [f"y{k}", "flat"], [f"flat{k}"]),
            helper.make_node("Slice", [f"flat{k}", "zero", "values"], [f"result{k}"]),
        ]
    constants |= {"low": np.array(0.25, "f"), "high": np.array(0.5, "f")}
    nodes += [
        helper.make_node("Concat", [f"result{k}" for k in range(len(CASES))], ["all"], axis=0),
        helper.make_node("Pad", ["all", "spare"], ["full"]),
        helper.make_node("Reshape", ["full", "shape"], [ends[1]]),
    ]
    return one_to_one(nodes, constants, shape, ends)


def one_to_one(
    nodes: list[onnx.NodeProto], constants: dict[str, Any], shape: tuple[int, ...], ends: tuple[str, str]
) -> onnx.ModelProto:
    """A model whose only input and only output have one shape."""
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ends]
    stored = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "graph", ports[:1], ports[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def on_processor(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {session.get_inputs()[0].name: x})
    return np.asarray(result)


def by_case(result: np.ndarray) -> np.ndarray:
    return result.ravel()[: VALUES * len(CASES)].reshape(len(CASES), VALUES)


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return model_of((1, 3, 24, 40), ("image", "output"))


def test_the_other_form_has_the_same_values(model: onnx.ModelProto) -> None:
    changed, notes = avoid_wrong_kernels(onnx.ModelProto.FromString(model.SerializeToString()))
    onnx.checker.check_model(changed, full_check=True)
    wrong = sum(is_wrong(case.weight, case.attributes) for case in CASES if case.group == 1)
    assert notes == [
        note for note in notes if note.startswith(f"{wrong} convolutions read channels of zeros")
    ]
    x = np.random.default_rng(1).random((1, 3, 24, 40), dtype=np.float32)
    before, after = on_processor(model, x), on_processor(changed, x)
    assert np.abs(before - after).max() < 1e-5 * np.abs(before).max()
    shapes = {value.name: value for value in onnx.shape_inference.infer_shapes(changed).graph.value_info}
    for node in changed.graph.node:
        if node.op_type == "Conv":
            stored = next((t.dims for t in changed.graph.initializer if t.name == node.input[1]), None)
            sizes = stored or [d.dim_value for d in shapes[node.input[1]].type.tensor_type.shape.dim]
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            assert attributes["group"] > 1 or not is_wrong(sizes, attributes)
    again, notes = avoid_wrong_kernels(onnx.ModelProto.FromString(changed.SerializeToString()))
    assert notes == [] and again == changed


def test_a_weight_of_several_layers_is_padded_once_and_a_convolution_of_unknown_shape_is_named() -> None:
    weight = numpy_helper.from_array(np.ones((8, 6, 3, 3), np.float32), "w")
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 6, 9, 9]) for n in ("x", "y")]
    free = helper.make_tensor_value_info("v", TensorProto.FLOAT, ["a", "b", 3, 3])
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("p", "q", "r")]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["p"], name="first"),
        helper.make_node("Conv", ["y", "w"], ["q"], name="second"),
        helper.make_node("Conv", ["y", "v"], ["r"], name="third"),
    ]
    graph = helper.make_graph(nodes, "graph", [*ports, free], ends, [weight])
    changed, notes = avoid_wrong_kernels(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    )
    weights = [tensor for tensor in changed.graph.initializer if len(tensor.dims) == 4]
    assert [list(tensor.dims) for tensor in weights] == [[8, 8, 3, 3]]
    assert (numpy_helper.to_array(weights[0])[:, :6] == 1).all()
    assert (numpy_helper.to_array(weights[0])[:, 6:] == 0).all()
    assert notes[0].startswith("2 convolutions read channels of zeros")
    assert notes[1].startswith("1 nodes (convolution, Softmax and LayerNormalization) were not checked")


def with_model(built: Artifact, model: onnx.ModelProto, folder: Path) -> Artifact:
    """The artifact with another model, on WebGPU."""
    with ArtifactWriter(folder) as writer:
        for name in built.passport.files:
            (writer.folder / name).parent.mkdir(exist_ok=True)
            (writer.folder / name).write_bytes((built.path / name).read_bytes())
        (writer.folder / "model.onnx").write_bytes(model.SerializeToString())
        settings = {"provider": "webgpu", "sample": "sample.jpg"}
        (writer.folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
        return writer.commit(built.passport)


@needs_browser
def test_webgpu_is_wrong_where_is_wrong_says_so_and_right_in_the_other_form(
    built: Artifact, tmp_path: Path
) -> None:
    """Where a new release of the runtime fails here by being right, the other form has served its time."""
    pytest.importorskip("playwright", reason="playwright is not installed (extra web)")
    taken, given = built.passport.input, built.passport.output
    model = model_of(taken.shape, (taken.name, given.name))
    x = np.random.default_rng(2).random(taken.shape, dtype=np.float32)
    reference = by_case(on_processor(model, x))
    with open_session(with_model(built, model, tmp_path / "as-it-is")) as session:
        differences = np.abs(by_case(session.run(x)) - reference).max(1) / np.abs(reference).max(1)
    expected = [case.group == 1 and is_wrong(case.weight, case.attributes) for case in CASES]
    assert [difference > 0.05 for difference in differences] == expected
    assert all(
        difference < 1e-5 for difference, wrong in zip(differences, expected, strict=True) if not wrong
    )
    changed, _ = avoid_wrong_kernels(model)
    with open_session(with_model(built, changed, tmp_path / "changed")) as session:
        differences = np.abs(by_case(session.run(x)) - reference).max(1) / np.abs(reference).max(1)
    assert differences.max() < 1e-5


class SixChannels(nn.Module):
    """A photo and its mirror image through layers of 6 and 9 channels, and through a spectrum."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.enter = nn.Conv2d(6, 8, 3, padding=1)
            self.nine = nn.Conv2d(16, 9, 1)
            self.leave = nn.Conv2d(9, 12, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        maps = torch.relu(self.enter(torch.cat([image, image.flip(-1)], 1)))
        spectrum = torch.fft.rfft2(maps, norm="ortho")
        mixed = self.leave(self.nine(torch.cat([spectrum.real, spectrum.imag], 1)))
        parts = torch.complex(mixed[:, :3], mixed[:, 3:6])
        return image + 0.3 * torch.fft.irfft2(parts, s=image.shape[-2:], norm="ortho")


@needs_browser
def test_a_network_with_such_layers_is_right_on_webgpu(web_files: dict[str, bytes], tmp_path: Path) -> None:
    pytest.importorskip("playwright", reason="playwright is not installed (extra web)")
    lowered = lower_model(SixChannels().eval(), (16, 24), name="six-channels")
    artifact = build_artifact(lowered, get_target("web:provider=webgpu"), "fp32", tmp_path / "a")
    x = np.random.default_rng(3).random(artifact.passport.input.shape, dtype=np.float32)
    (reference,) = lowered.reference({"image": x}).values()
    with open_session(artifact) as session:
        assert np.abs(session.run(x) - reference).max() < 1e-5
    assert any("2 convolutions read channels of zeros" in note for note in artifact.passport.notes)


def test_a_page_for_webassembly_alone_keeps_the_convolutions(
    web_files: dict[str, bytes], tmp_path: Path
) -> None:
    lowered = lower_model(SixChannels().eval(), (16, 24), name="six-channels")
    artifact = build_artifact(lowered, get_target("web:provider=wasm"), "fp32", tmp_path / "a")
    assert not any("channels of zeros" in note for note in artifact.passport.notes)
    assert not any(node.op_type == "Pad" for node in onnx.load(artifact.path / "model.onnx").graph.node)


def rows_of(shape: tuple[int, ...], ends: tuple[str, str]) -> onnx.ModelProto:
    """Softmax and LayerNormalization over 131072 rows of 8; the result holds the last rows of each."""
    values = int(np.prod(shape)) // 3
    kept = values // 8 * 8
    constants: dict[str, np.ndarray] = {
        **{"many": np.array([131072 * 8 // values + 1]), "flat": np.array([-1]), "zero": np.array([0])},
        **{
            "all": np.array([131072 * 8]),
            "rows": np.array([131072, 8]),
            "maps": np.array([1, 2, 8, 256, 256]),
        },
        **{"one": np.ones(8, np.float32), "none": np.zeros(8, np.float32), "shape": np.array(shape)},
        **{"start": np.array([-kept]), "end": np.array([131072 * 8])},
        "spare": np.array([0, int(np.prod(shape)) - 3 * kept]),
    }
    nodes = [
        helper.make_node("Reshape", [ends[0], "flat"], ["line"]),
        helper.make_node("Tile", ["line", "many"], ["long"]),
        helper.make_node("Slice", ["long", "zero", "all"], ["cut"]),
        helper.make_node("Reshape", ["cut", "rows"], ["x"]),
        helper.make_node("Reshape", ["cut", "maps"], ["inner"]),
        helper.make_node("Softmax", ["x"], ["y0"], axis=-1),
        helper.make_node("Softmax", ["inner"], ["y1"], axis=2),
        helper.make_node("LayerNormalization", ["x", "one", "none"], ["y2"], axis=-1),
    ]
    for k in range(3):
        nodes.append(helper.make_node("Reshape", [f"y{k}", "flat"], [f"flat{k}"]))
        nodes.append(helper.make_node("Slice", [f"flat{k}", "start", "end"], [f"result{k}"]))
    nodes += [
        helper.make_node("Concat", ["result0", "result1", "result2"], ["joined"], axis=0),
        helper.make_node("Pad", ["joined", "spare"], ["full"]),
        helper.make_node("Reshape", ["full", "shape"], [ends[1]]),
    ]
    return one_to_one(nodes, constants, shape, ends)


@needs_browser
def test_more_rows_than_webgpu_takes_groups_are_right_when_split(built: Artifact, tmp_path: Path) -> None:
    pytest.importorskip("playwright", reason="playwright is not installed (extra web)")
    taken, given = built.passport.input, built.passport.output
    model = rows_of(taken.shape, (taken.name, given.name))
    x = np.random.default_rng(4).random(taken.shape, dtype=np.float32)
    reference = on_processor(model, x)
    # As it is, it was wrong by more than 1e-3. That is not asserted: what spare threads write is not defined.
    changed, notes = avoid_wrong_kernels(onnx.ModelProto.FromString(model.SerializeToString()))
    onnx.checker.check_model(changed, full_check=True)
    assert [note.split(":")[0] for note in notes] == ["3 nodes of Softmax and LayerNormalization are split"]
    assert (on_processor(changed, x) == reference).all()
    with open_session(with_model(built, changed, tmp_path / "changed")) as session:
        assert np.abs(session.run(x) - reference).max() < 1e-5
