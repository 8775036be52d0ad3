"""Every kind of layer that is quantised: the axis of its steps, and what both runtimes make of the file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from fdikp_edge.calibration.emulate import Int8Runner
from fdikp_edge.calibration.layer_kinds import LEFT_PRODUCT, PRODUCT, TRANSPOSED
from fdikp_edge.calibration.layers import find_layers, kind_of, stored_tensors
from fdikp_edge.calibration.levels import REDUCED_LEVELS
from fdikp_edge.calibration.runner import Runner
from fdikp_edge.calibration.samples import choose, shipped_photos
from fdikp_edge.calibration.table import CalibrationTable
from fdikp_edge.export.build import build_artifact
from fdikp_edge.export.calibrate import calibrate
from fdikp_edge.export.lowered import LoweredModel, lower_model
from fdikp_edge.export.onnx import build as target
from fdikp_edge.export.onnx.checks import source_node
from fdikp_edge.export.roles import FIRST, LAST, ends, protected
from fdikp_edge.export.targets import get_target
from fdikp_edge.runtime.passport import QUANTISED_LAYERS
from fdikp_edge.runtime.pixels import psnr_db
from fdikp_edge.runtime.sessions import open_session
from golden_pair import golden_pair
from onnx import numpy_helper
from torch import Tensor, nn

SIZE = (32, 48)
HEIGHT, WIDTH = SIZE


class Around(nn.Module):
    """A layer of one kind between two shapes, added to the picture.

    Weights of each output channel are of another size, up to 50 times, so that steps along another axis lose
    most channels.
    """

    def __init__(
        self,
        layer: Callable[[], nn.Module],
        axis: int,
        before: Callable[[Tensor], Tensor],
        after: Callable[[Tensor], Tensor],
    ) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layer = layer()
        weight = self.layer.weight
        sizes = torch.logspace(0, -1.7, weight.shape[axis])
        weight.data *= sizes.reshape([-1 if i == axis else 1 for i in range(weight.dim())])
        self.sizes, self.before, self.after = sizes, before, after

    def forward(self, x: Tensor) -> Tensor:
        # Scaled back, so that each channel counts in the result.
        return x + 0.1 * self.after(self.layer(self.before(x)))


class Product(nn.Module):
    """A product with a matrix, as an operator."""

    def __init__(self, rows: int, columns: int, product: Callable[..., Tensor]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(rows, columns) / rows**0.5)
        self.bias = nn.Parameter(torch.randn(columns) / 10)
        self.product = product

    def forward(self, x: Tensor) -> Tensor:
        return self.product(self, x)


def unit(count: int) -> Tensor:
    return torch.logspace(0, 1.7, count)


def lines(x: Tensor) -> Tensor:
    return x.reshape(1, 3 * HEIGHT, WIDTH)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], str, str]] = {
    "conv1d": (
        lambda: Around(
            lambda: nn.Conv1d(3 * HEIGHT, 3 * HEIGHT, 5, padding="same", groups=3),
            0,
            lines,
            lambda y: (y * unit(3 * HEIGHT)[:, None]).reshape(1, 3, HEIGHT, WIDTH),
        ),
        "conv1d",
        "Conv",
    ),
    "conv3d": (
        lambda: Around(
            lambda: nn.Conv3d(1, 6, 3, padding=1),
            0,
            lambda x: x[:, None],
            lambda y: (y * unit(6)[:, None, None, None]).mean(1),
        ),
        "conv3d",
        "Conv",
    ),
    "conv2d, padding by name": (
        lambda: Around(
            lambda: nn.Conv2d(3, 3, 3, padding="same", dilation=2),
            0,
            lambda x: x,
            lambda y: y * unit(3)[:, None, None],
        ),
        "conv2d",
        "Conv",
    ),
    "transposed 1d": (
        lambda: Around(
            lambda: nn.ConvTranspose1d(3 * HEIGHT, 8, 4, stride=2, padding=1),
            1,
            lines,
            lambda y: (y * unit(8)[:, None])[:, :, ::2].mean(1, keepdim=True)[:, :, None],
        ),
        TRANSPOSED,
        "ConvTranspose",
    ),
    "transposed 2d": (
        lambda: Around(
            lambda: nn.ConvTranspose2d(3, 6, 4, stride=2, padding=1),
            1,
            lambda x: x,
            lambda y: (y * unit(6)[:, None, None]).reshape(1, 2, 3, *y.shape[-2:]).mean(1)[..., ::2, ::2],
        ),
        TRANSPOSED,
        "ConvTranspose",
    ),
    "transposed 2d in groups": (
        lambda: Around(
            lambda: nn.ConvTranspose2d(12, 6, 2, stride=2, groups=3),
            1,
            lambda x: nn.functional.pixel_unshuffle(x, 2),
            lambda y: (y.reshape(3, 2, *y.shape[-2:]) * unit(2)[:, None, None]).mean(1)[None],
        ),
        TRANSPOSED,
        "ConvTranspose",
    ),
    "linear": (
        lambda: Around(lambda: nn.Linear(WIDTH, WIDTH), 0, lambda x: x, lambda y: y * unit(WIDTH)),
        PRODUCT,
        "MatMul",
    ),
    "addmm": (
        lambda: Around(
            lambda: Product(WIDTH, WIDTH, lambda own, x: torch.addmm(own.bias, x, own.weight)),
            1,
            lambda x: x.reshape(3 * HEIGHT, WIDTH),
            lambda y: (y * unit(WIDTH)).reshape(1, 3, HEIGHT, WIDTH),
        ),
        PRODUCT,
        "",
    ),
    "matmul": (
        lambda: Around(
            lambda: Product(WIDTH, WIDTH, lambda own, x: x @ own.weight),
            1,
            lambda x: x,
            lambda y: y * unit(WIDTH),
        ),
        PRODUCT,
        "MatMul",
    ),
    "matmul from the left": (
        lambda: Around(
            lambda: Product(HEIGHT, HEIGHT, lambda own, x: own.weight @ x),
            0,
            lambda x: x,
            lambda y: y * unit(HEIGHT)[:, None],
        ),
        LEFT_PRODUCT,
        "MatMul",
    ),
}


@cache
def lowered(name: str) -> tuple[LoweredModel, CalibrationTable]:
    model = lower_model(NETWORKS[name][0]().eval(), SIZE, name="kind")
    return model, calibrate(model, count=4, least_work=0, guarded=False)


def in_int8(name: str, *, unsigned: bool) -> onnx.ModelProto:
    model, table = lowered(name)
    levels = REDUCED_LEVELS
    return target.convert_to(model.lowered, "int8", table, unsigned=unsigned, weight_levels=levels)[0]


def photo() -> np.ndarray[Any, Any]:
    return choose(shipped_photos(), SIZE, count=2, seed=3).arrays()[1]


def emulated(name: str, *, rounded: bool) -> np.ndarray[Any, Any]:
    model, table = lowered(name)
    key = model.lowered.key
    section = table.section(key)
    scales = {tensor: table.scale(key, tensor) for tensor in section.tensors}
    runner = Int8Runner(
        model.lowered.program,
        section.quantised(),
        scales,
        rounded_results=rounded,
        weight_levels=REDUCED_LEVELS,
    )
    return runner(photo())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_layer_is_found_with_its_work(name: str) -> None:
    model, table = lowered(name)
    (layer,) = table.section(model.lowered.key).layers
    assert layer.reason == ""
    (node,) = (node for node in model.lowered.program.graph.nodes if node.name == layer.node)
    kind = kind_of(node, stored_tensors(model.lowered.program))
    assert kind is not None
    assert kind.name == NETWORKS[name][1]
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.deployable(torch.zeros(1, 3, *SIZE))
    assert 2 * layer.macs == counter.get_total_flops()


@pytest.mark.parametrize("unsigned", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_steps_lie_along_output_channels(name: str, unsigned: bool) -> None:
    model, table = lowered(name)
    network, kind, operator = NETWORKS[name][0](), *NETWORKS[name][1:]
    graph = in_int8(name, unsigned=unsigned)
    (layer,) = table.section(model.lowered.key).quantised()
    nodes = [node for node in graph.graph.node if source_node(node) == layer.node]
    operators = {node.op_type for node in nodes}
    assert not operator or operator in operators
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.graph.initializer}
    back = [
        node for node in graph.graph.node if node.op_type == "DequantizeLinear" and node.input[0] in stored
    ]
    (whole, scales) = (stored[read] for read in back[0].input[:2])
    assert len(back) == 1
    weight = network.layer.weight.detach()
    axis = {TRANSPOSED: 1, LEFT_PRODUCT: 0}.get(kind, 1 if isinstance(network.layer, Product) else 0)
    peaks = weight.abs().amax([i for i in range(weight.dim()) if i != axis]).numpy()
    np.testing.assert_allclose(np.sort(scales), np.sort(peaks / REDUCED_LEVELS), rtol=1e-6)
    assert np.abs(whole).max() == REDUCED_LEVELS


def in_runtime(graph: onnx.ModelProto, x: np.ndarray[Any, Any], runtime: str) -> np.ndarray[Any, Any]:
    if runtime == "openvino":
        import openvino

        model = openvino.Core().read_model(graph.SerializeToString())
        compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        result: np.ndarray[Any, Any] = compiled([x])[0]
        return result
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    outputs: np.ndarray[Any, Any] = session.run(None, {session.get_inputs()[0].name: x})[0]
    return outputs


RUNS = [(name, runtime) for name in NETWORKS for runtime in ("onnxruntime", "openvino")]
# Its steps of 8-bit weights on the left of a product end up in other rows (33 dB); none are written for it.
RUNS.remove(("matmul from the left", "openvino"))


@pytest.mark.parametrize(("name", "runtime"), RUNS)
def test_runtimes_compute_what_the_emulation_does(name: str, runtime: str) -> None:
    """With weights of 7 bits, whose sums saturate on no processor."""
    model, _ = lowered(name)
    unsigned = runtime == "onnxruntime"
    graph = in_int8(name, unsigned=unsigned)
    result = in_runtime(graph, photo(), runtime)
    floats = Runner(model.lowered.program)(photo())
    assert psnr_db(result, emulated(name, rounded=unsigned)) > 60
    assert psnr_db(result, floats) > 36
    assert psnr_db(floats, photo()) < psnr_db(result, floats) - 6  # the layer is to be seen


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
@pytest.mark.parametrize("name", ["conv1d", "conv3d", "transposed 2d", "matmul from the left"])
def test_kinds_are_in_int8_where_the_runtime_gains(name: str, runtime: str, tmp_path: Path) -> None:
    model, _ = lowered(name)
    gains = NETWORKS[name][1] in get_target(runtime).costs.int8_kinds
    assert gains == name.startswith("conv")
    own = model.for_profile(runtime)
    table = calibrate(own, count=4, least_work=0)
    (layer,) = table.section(own.lowered.key).layers
    # The only layer may read the picture and make it, which keeps it in floats in spite of a gain.
    assert layer.reason in (FIRST, LAST, "") or layer.weights_only
    assert layer.weights_only != gains
    if gains:
        unguarded = lowered(name)[1]
        section = unguarded.section(model.lowered.key)
        table = dataclasses.replace(unguarded, sections={own.lowered.key: section})
    artifact = build_artifact(own, f"{runtime}:weights=7bit", "int8", tmp_path / "artifact", table=table)
    assert artifact.passport.precision_census.get(QUANTISED_LAYERS, 0) == int(gains)
    x, golden = golden_pair(artifact)
    with open_session(artifact) as session:
        assert psnr_db(session.run(x), golden) > (36 if gains else 50)


class Enhancer(nn.Module):
    """A network over lines: reads them with a linear layer and makes them with a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.head = nn.Linear(WIDTH, WIDTH)
            self.body = nn.Conv1d(3 * HEIGHT, 3 * HEIGHT, 3, stride=2, padding=1)
            self.tail = nn.ConvTranspose1d(3 * HEIGHT, 3 * HEIGHT, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.head(x)).reshape(1, 3 * HEIGHT, WIDTH)
        spectrum = torch.fft.rfft(torch.relu(self.body(y)), norm="ortho")
        y = torch.fft.irfft(spectrum * 0.9, n=WIDTH // 2, norm="ortho")
        return x + self.tail(y).reshape(x.shape)


def test_first_and_last_are_found_by_structure() -> None:
    model = lower_model(Enhancer().eval(), SIZE, name="enhancer")
    layers = find_layers(model.lowered.program, protected(model.lowered)[0])
    reasons = ends(model.lowered, first=True, last=True)
    by_module = {layer.module.removeprefix("model."): reasons.get(layer.node) for layer in layers}
    assert by_module == {"head": FIRST, "body": None, "tail": LAST}
