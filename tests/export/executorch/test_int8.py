"""int8 programs: what is stored is what the calibration table says, and XNNPACK computes what is emulated."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from fdikp_edge.calibration.emulate import Int8Runner, weight_scales
from fdikp_edge.calibration.levels import LEVELS
from fdikp_edge.calibration.table import CalibrationTable
from fdikp_edge.export.aten import base_name
from fdikp_edge.export.build import build_artifact
from fdikp_edge.export.calibrate import calibrate
from fdikp_edge.export.executorch.quantise import narrowed, quantised_program
from fdikp_edge.export.lowered import LoweredModel, lower_model
from fdikp_edge.runtime.errors import CalibrationError, LoweringError
from fdikp_edge.runtime.sessions import open_session
from torch import Tensor, nn
from torch.export import ExportedProgram


class Chain(nn.Module):
    """A layer in 8 bits, plain or depthwise, and one in floats that makes the picture of it."""

    def __init__(self, groups: int, bias: bool) -> None:
        super().__init__()
        self.before = nn.Conv2d(3, 8, 1)
        self.middle = nn.Conv2d(8, 8, 3, padding=1, groups=groups, bias=bias)
        self.after = nn.Conv2d(8, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.middle(torch.relu(self.before(x))))


class Shared(nn.Module):
    """One depthwise layer used on two maps of different ranges: its weights and its bias are read twice."""

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.Conv2d(3, 8, 1)
        self.twice = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.after = nn.Conv2d(8, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        f = torch.relu(self.before(x))
        return self.after(self.twice(f) + self.twice(8 * f))


class Fork(nn.Module):
    """A rounded result that two layers in 8 bits and a sum read."""

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.Conv2d(3, 8, 3, padding=1)
        self.left = nn.Conv2d(8, 8, 1)
        self.right = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.after = nn.Conv2d(8, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        f = self.before(x)
        return self.after(self.left(f) + self.right(f) + f)


class Steps(Chain):
    """Two layers in 8 bits with a ReLU between them, whose results have steps of another size."""


NETWORKS = {
    "plain": lambda: Chain(1, True),
    "two groups": lambda: Chain(2, True),
    "depthwise": lambda: Chain(8, True),
    "depthwise without a bias": lambda: Chain(8, False),
    "one layer twice": Shared,
    "a result read thrice": Fork,
    "a change of steps": lambda: Steps(1, True),
}
IN_FLOATS = {Chain: ("before", "after"), Shared: ("before", "after"), Fork: ("after",), Steps: ("after",)}
"""Layers that are kept in floats by hand, so that what is tested is in 8 bits alone."""


def calibrated(name: str) -> tuple[LoweredModel, CalibrationTable]:
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    model = lower_model(network, (16, 24), name="net", profile="executorch")
    table = calibrate(model, count=2, least_work=0, guarded=False)
    layers = table.section(model.lowered.key).quantised()
    names = {f"model.{module}" for module in IN_FLOATS[type(network)]}
    kept = {layer.node: "for this test" for layer in layers if layer.module in names}
    return model, table.to_float(model.lowered.key, kept)


def emulated(model: LoweredModel, table: CalibrationTable, x: np.ndarray) -> np.ndarray:
    section = table.section(model.lowered.key)
    scales = {name: table.scale(model.lowered.key, name) for name in section.tensors}
    return Int8Runner(model.lowered.program, section.quantised(), scales, rounded_results=True)(x)


def last_step(model: LoweredModel, table: CalibrationTable) -> float:
    """Return what one rounding step of every layer in 8 bits can change of the result, through the last."""
    section = table.section(model.lowered.key)
    weight = model.deployable.model.after.weight
    steps = sum(table.scale(model.lowered.key, layer.node) for layer in section.quantised())
    return steps * float(weight.detach().abs().sum((1, 2, 3)).max())


def picture() -> np.ndarray:
    return np.random.default_rng(0).random((1, 3, 16, 24), np.float32)


def operators(program: ExportedProgram) -> Counter[str]:
    return Counter(str(node.target) for node in program.graph.nodes if node.op == "call_function")


@pytest.mark.parametrize("name", NETWORKS)
def test_the_program_computes_what_is_emulated(name: str) -> None:
    model, table = calibrated(name)
    assert table.section(model.lowered.key).quantised()
    program = quantised_program(model.lowered, table)
    x = picture()
    with torch.no_grad():
        (result,) = torch.utils._pytree.tree_leaves(program.module()(torch.from_numpy(x)))
    np.testing.assert_allclose(result.numpy(), emulated(model, table, x), atol=1e-5)
    assert np.abs(result.numpy() - model.reference(x)).max() > 1e-4, "nothing was rounded"
    stored = [value for value in program.state_dict.values() if value.dtype == torch.int8]
    assert stored and not operators(program)["quantized_decomposed.quantize_per_channel.default"]


@pytest.mark.parametrize("name", NETWORKS)
def test_xnnpack_computes_it_within_one_rounding_step(name: str, tmp_path: Path) -> None:
    pytest.importorskip("executorch", reason="executorch is not installed")
    model, table = calibrated(name)
    artifact = build_artifact(model, "executorch", "int8", tmp_path / "a", table=table)
    x = picture()
    with open_session(artifact, threads=1) as session:
        result = session.run(x)
    difference = np.abs(result - emulated(model, table, x))
    assert difference.max() <= 1.01 * last_step(model, table)
    if name != "a change of steps":  # XNNPACK's factor for that has 8 bits
        assert np.mean(difference > 1e-5) < 0.04, "only values next to half a step may: the bias is rounded"
    census = artifact.passport.precision_census
    assert census["int8 layers"] == len(table.section(model.lowered.key).quantised())
    assert census["operators outside the delegate"] == 0


def test_weights_are_shared_and_each_layer_has_a_bias_of_its_own() -> None:
    model, table = calibrated("one layer twice")
    program = quantised_program(model.lowered, table)
    layers = [node for node in program.graph.nodes if base_name(node.target) == "conv2d"]
    twice = [node for node in layers if node.args[6:] == (8,)]
    assert len(twice) == 2
    assert len({node.args[2] for node in twice}) == 2, "ExecuTorch rounds a shared bias for one of them"
    assert len({node.args[1].args[0] for node in twice}) == 1, "the weights are stored twice"
    assert len({node.args[1] for node in twice}) == 2, "a dequantisation is shared by two parts"


def test_each_reader_has_a_dequantisation_of_its_own() -> None:
    model, table = calibrated("a result read thrice")
    program = quantised_program(model.lowered, table)
    pairs = [n for n in program.graph.nodes if "dequantize_per_tensor" in str(n.target)]
    assert pairs and all(len(pair.users) == 1 for pair in pairs)
    (before,) = [n for n in program.graph.nodes if n.name == "conv2d"]
    (narrow,) = before.users
    assert len(narrow.users) == 3, "the result is rounded more than once"


def test_weights_are_narrowed_by_channel() -> None:
    value = torch.tensor([[1.0, -0.5], [0.0, 0.0], [100.0, 0.3]])
    steps = weight_scales(value, LEVELS, 0).flatten()
    assert narrowed(value, steps, 0).tolist() == [[127, -64], [0, 0], [127, 0]]
    assert narrowed(value.t(), steps, 1).tolist() == [[127, 0, 127], [-64, 0, 0]]


def test_a_layer_that_makes_the_result_stays_in_floats() -> None:
    model, _ = calibrated("plain")
    table = calibrate(model, count=2, least_work=0, guarded=False)
    assert len(table.section(model.lowered.key).quantised()) == 3
    program = quantised_program(model.lowered, table)
    (result,) = program.graph_signature.user_outputs
    (last,) = [node for node in program.graph.nodes if node.name == result]
    assert "model_after_weight" in last.args[1].name


def test_a_table_of_another_program_is_refused() -> None:
    _, table = calibrated("plain")
    other, _ = calibrated("depthwise")
    with pytest.raises(CalibrationError):
        quantised_program(other.lowered, table)


def test_a_layer_that_is_not_in_the_program_is_refused() -> None:
    model, table = calibrated("plain")
    key = model.lowered.key
    section = table.section(key)
    layers = [dataclasses.replace(layer, node=f"{layer.node}_gone") for layer in section.layers]
    wrong = dataclasses.replace(table, sections={key: dataclasses.replace(section, layers=layers)})
    with pytest.raises(LoweringError, match="is not in the program"):
        quantised_program(model.lowered, wrong)
