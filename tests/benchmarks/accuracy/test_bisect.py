"""Bisection names the module of a planted fault: each kind, in each runtime, in few probes."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fdikp_edge.benchmarks.accuracy.bisect import bisect
from fdikp_edge.benchmarks.accuracy.budgets import Budget
from fdikp_edge.export.build import build_artifact
from fdikp_edge.export.calibrate import calibrate
from fdikp_edge.export.cutting.partition import Partition, Reference
from fdikp_edge.export.lowered import LoweredModel, lower_model
from fdikp_edge.export.targets import get_target
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.errors import ArtifactError, BadInputError

sys.path.insert(0, str(Path(__file__).parent.parent))

from golden_pair import golden_pair
from planting import (
    Deep,
    coreml_weight,
    onnx_range,
    onnx_turned,
    onnx_weight,
    openvino_range,
    openvino_weight,
    plant,
    scale,
    swap_kernel_axes,
)

SIZE = (32, 32)
Build = Callable[[str, str], Artifact]


@pytest.fixture(scope="module")
def lowered() -> LoweredModel:
    return lower_model(Deep().eval(), SIZE, name="deep")


@pytest.fixture(scope="module")
def build(lowered: LoweredModel, tmp_path_factory: pytest.TempPathFactory) -> Build:
    folder = tmp_path_factory.mktemp("bisected")
    artifacts: dict[tuple[str, str], Artifact] = {}
    table = calibrate([lowered.for_profile(name) for name in ("onnx", "openvino", "coreml")])

    def make(target: str, precision: str) -> Artifact:
        if (target, precision) not in artifacts:
            artifacts[target, precision] = build_artifact(
                lowered, target, precision, folder / f"{target}-{precision}", table=table
            )
        return artifacts[target, precision]

    return make


FAULTS: list[tuple[str, str, str, str, Any]] = [
    ("wrong constant", "onnx", "fp32", "model.body.1.conv", onnx_weight("model.body.1.conv", scale(1.01))),
    ("wrong constant", "onnx", "fp32", "model.tail", onnx_weight("model.tail", scale(1.01))),
    ("wrong constant", "onnx", "fp32", "model.head", onnx_weight("model.head", scale(1.01))),
    ("overflow", "onnx", "fp16", "model.body.2.mix", onnx_weight("model.body.2.mix", scale(1e6))),
    ("swapped axis", "onnx", "fp32", "model.body.3", onnx_turned("model.body.3", "Relu")),
    ("bad range", "onnx", "int8", "model.body.3.conv", onnx_range("model.body.3.conv", 0.01)),
    ("wrong constant", "openvino", "fp32", "model.body.2.mix", openvino_weight("conv2d_8", scale(1.01))),
    ("overflow", "openvino", "fp16", "model.body.0.conv", openvino_weight("conv2d_1", scale(1e6))),
    ("swapped axis", "openvino", "fp32", "model.tail", openvino_weight("conv2d_13", swap_kernel_axes)),
    ("bad range", "openvino", "int8", "model.head", openvino_range("conv2d", 0.01)),
    ("wrong constant", "coreml", "fp32", "model.body.2.mix", coreml_weight("conv2d_8", scale(1.01))),
    ("overflow", "coreml", "fp16", "model.body.2.mix", coreml_weight("conv2d_8", scale(1e6))),
    (
        "swapped axis",
        "coreml",
        "fp32",
        "model.body.3.conv",
        coreml_weight("_native_batch_norm_legit_no_training_3", swap_kernel_axes),
    ),
    ("bad range", "coreml", "int8", "model.body.1.mix", coreml_weight("conv2d_5", scale(30), "scale")),
]


@pytest.mark.parametrize(("kind", "target", "precision", "module", "edit"), FAULTS)
def test_module_of_a_planted_fault_is_named(
    kind: str,
    target: str,
    precision: str,
    module: str,
    edit: Callable[[Path], None],
    build: Build,
    lowered: LoweredModel,
    tmp_path: Path,
) -> None:
    sound = build(target, precision)
    artifact = plant(sound, tmp_path / "faulty", edit)
    budget = None
    if precision == "int8":  # a small network of random weights: its own error says what is much
        own = bisect(sound, lowered, budget=Budget(1.0, 0.0), threads=1).whole
        budget = Budget(2 * own.max_abs, own.psnr_db - 3)
    result = bisect(artifact, lowered, budget=budget, threads=1)
    assert result.departure is not None
    assert module in result.departure.modules
    # What a converter folded into one value (a normalisation, a factor) is one to a search too.
    assert result.departure.module == module
    assert set(result.departure.modules) <= {
        module,
        module.replace(".conv", ".norm"),
        module[: module.rfind(".")],
    }
    # One run of the whole, one digit of the module count each, the module's own nodes, and the repair.
    assert result.probes <= 1 + math.ceil(math.log2(result.cuts)) + 4 + 3
    assert result.budget.problems(result.departure.after.max_abs, result.departure.after.psnr_db)
    assert not result.budget.problems(result.departure.before.max_abs, result.departure.before.psnr_db)
    assert not result.budget.problems(result.departure.repaired.max_abs, result.departure.repaired.psnr_db)
    assert result.departure.suggestion
    if kind == "overflow" and target == "coreml":
        assert not math.isfinite(result.departure.after.max_abs)
        assert result.departure.precision == "float16" and "float32" in result.departure.suggestion
    if kind == "bad range":
        assert "int8" in result.departure.precision and "calibrate" in result.departure.suggestion


@pytest.mark.parametrize("target", ["onnx", "openvino", "coreml"])
def test_values_taken_for_nodes_are_those_nodes(target: str, build: Build, lowered: LoweredModel) -> None:
    artifact = build(target, "fp32")
    program = lowered.for_profile(get_target(target).profile).lowered.program
    parts = get_target(target).open_parts(artifact, 1)
    partition = Partition(program, parts)
    assert len(partition.values) > 80
    x, _ = golden_pair(artifact)
    values = parts.run({parts.inputs[0]: x}, list(partition.values.values()))
    expected = Reference(program).part({partition.inputs[0]: x}, list(partition.values))
    for node, value in partition.values.items():
        np.testing.assert_allclose(values[value], expected[node], rtol=1e-4, atol=1e-5, err_msg=node)


def test_cuts_grow_and_hold_what_their_members_read(build: Build, lowered: LoweredModel) -> None:
    program = lowered.for_profile("onnx").lowered.program
    partition = Partition(program, get_target("onnx").open_parts(build("onnx", "fp32"), 1))
    cuts = partition.module_cuts()
    assert len(cuts) >= 15 and cuts[0].inside == frozenset()
    fed = cuts[-1].inside
    nodes = {node.name: node for node in program.graph.nodes}
    for before, after in itertools.pairwise(cuts):
        assert before.inside < after.inside
        assert all(
            source.name in after.inside or source.name not in fed
            for name in after.inside
            for source in nodes[name].all_input_nodes
        )


@pytest.mark.parametrize("target", ["onnx", "openvino", "coreml"])
def test_sound_artifact_departs_nowhere(target: str, build: Build, lowered: LoweredModel) -> None:
    result = bisect(build(target, "fp32"), lowered, threads=1)
    assert result.departure is None and result.probes == 1
    assert result.to_dict()["departure"] is None


def test_two_artifacts_are_told_apart_by_module(build: Build, lowered: LoweredModel, tmp_path: Path) -> None:
    old = build("onnx", "fp32")
    new = plant(build("openvino", "fp32"), tmp_path / "new", openvino_weight("conv2d_4", scale(1.01)))
    result = bisect(new, lowered, against=old, threads=1)
    assert result.departure is not None and "model.body.1.conv" in result.departure.modules
    assert result.against == str(old.path) and "change" in result.departure.suggestion


def test_an_artifact_of_other_images_is_nothing_to_compare_with(build: Build, lowered: LoweredModel) -> None:
    import dataclasses

    artifact = build("onnx", "fp32")
    wider = dataclasses.replace(artifact.passport.input, shape=(1, 3, 512, 512))
    other = dataclasses.replace(artifact, passport=dataclasses.replace(artifact.passport, inputs=(wider,)))
    with pytest.raises(BadInputError, match="differ in form or size"):
        bisect(artifact, lowered, against=other, threads=1)


def test_a_tighter_budget_finds_where_rounding_adds_up(build: Build, lowered: LoweredModel) -> None:
    artifact = build("onnx", "int8")
    whole = bisect(artifact, lowered, budget=Budget(1.0, 0.0), threads=1)
    assert whole.departure is None
    result = bisect(artifact, lowered, budget=Budget(whole.whole.max_abs / 2, 0.0), threads=1)
    assert result.departure is not None
    assert result.departure.before.max_abs <= result.budget.max_abs < result.departure.after.max_abs


def test_a_changed_network_is_said(build: Build, tmp_path: Path) -> None:
    changed = Deep().eval()
    changed.body[2].mix.bias.data += 0.05
    result = bisect(build("onnx", "fp32"), changed, threads=1)
    assert result.departure is not None and "model.body.2.mix" in result.departure.modules
    assert any("another program" in note for note in result.notes)


def test_a_model_that_says_no_provenance_is_refused(
    build: Build, lowered: LoweredModel, tmp_path: Path
) -> None:
    def forget(path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        assert "<nodes" in text
        path.write_text(text.replace("<nodes", "<nods"), encoding="utf-8")

    artifact = plant(build("openvino", "fp32"), tmp_path / "old", forget)
    with pytest.raises(ArtifactError, match="export the artifact again"):
        bisect(artifact, lowered, threads=1)


def test_a_passport_without_a_plan_is_refused(build: Build, tmp_path: Path) -> None:
    import dataclasses

    artifact = build("onnx", "fp32")
    twice = dataclasses.replace(artifact, passport=dataclasses.replace(artifact.passport, plan=[{}, {}]))
    with pytest.raises(BadInputError, match="plan"):
        bisect(twice, Deep().eval(), threads=1)
