"""Bisection of a network with several inputs and results: it follows the result that is worst."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from fdikp_edge.benchmarks.accuracy.bisect import bisect
from fdikp_edge.export.build import build_artifact
from fdikp_edge.export.cutting.partition import Partition, Reference
from fdikp_edge.export.lowered import LoweredModel, lower_model
from fdikp_edge.export.targets import get_target
from fdikp_edge.models.sources import NetworkSource, TensorSpec
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.errors import BadInputError
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent.parent))

from planting import coreml_weight, onnx_weight, openvino_weight, plant, scale

TARGETS = ["onnx", "openvino", "coreml"]


class Sharpen(nn.Module):
    """A picture and a gain; a sharper picture, what was added to it, and the share of each frequency."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.head = nn.Conv2d(3, channels, 3, padding=1)
            self.middle = nn.Conv2d(channels, channels, 3, padding=1)
            self.tail = nn.Conv2d(channels, 3, 3, padding=1)
            self.weigh = nn.Conv2d(channels, 4, 1)

    def forward(self, picture: Tensor, gain: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        f = torch.relu(self.head(picture))
        spectrum = torch.fft.rfft2(f, norm="ortho")
        f = torch.fft.irfft2(spectrum * gain, s=f.shape[-2:], norm="ortho")
        g = torch.relu(self.middle(f))
        added = self.tail(g)
        return picture + added, added, self.weigh(torch.fft.rfft2(g, norm="ortho").abs())


@pytest.fixture(scope="module")
def lowered() -> LoweredModel:
    source = NetworkSource(
        name="sharpen",
        spec="sharpen.py",
        load=lambda: Sharpen().eval(),
        inputs=(
            TensorSpec("picture", (1, 3, 24, 32), layout="NCHW", color="RGB"),
            TensorSpec("gain", (1, 8, 24, 17), value_range=(0.5, 1.5)),
        ),
        outputs=("sharper", "added", "shares"),
    )
    return lower_model(source)


@pytest.fixture(scope="module")
def build(lowered: LoweredModel, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Artifact]:
    folder = tmp_path_factory.mktemp("many")
    artifacts: dict[str, Artifact] = {}

    def make(target: str) -> Artifact:
        if target not in artifacts:
            artifacts[target] = build_artifact(lowered, target, "fp32", folder / target)
        return artifacts[target]

    return make


@pytest.mark.parametrize("target", TARGETS)
def test_sound_artifact_departs_nowhere(
    target: str, build: Callable[[str], Artifact], lowered: LoweredModel
) -> None:
    result = bisect(build(target), lowered, threads=1)
    assert result.departure is None
    assert result.result in ("sharper", "added", "shares")


@pytest.mark.parametrize(
    ("module", "results", "target", "edit"),
    [
        ("model.weigh", {"shares"}, "onnx", onnx_weight("model.weigh", scale(1.01))),
        ("model.tail", {"sharper", "added"}, "onnx", onnx_weight("model.tail", scale(1.01))),
        ("model.head", {"sharper", "added", "shares"}, "onnx", onnx_weight("model.head", scale(1.01))),
        ("model.tail", {"sharper", "added"}, "openvino", openvino_weight("conv2d_2", scale(1.01))),
        ("model.weigh", {"shares"}, "openvino", openvino_weight("conv2d_3", scale(1.01))),
        ("model.head", {"sharper", "added", "shares"}, "coreml", coreml_weight("conv2d", scale(1.01))),
        ("model.middle", {"sharper", "added", "shares"}, "coreml", coreml_weight("conv2d_1", scale(1.01))),
    ],
)
def test_module_of_a_planted_fault_is_named(
    module: str,
    results: set[str],
    target: str,
    edit: Callable[[Path], None],
    build: Callable[[str], Artifact],
    lowered: LoweredModel,
    tmp_path: Path,
) -> None:
    result = bisect(plant(build(target), tmp_path / "faulty", edit), lowered, threads=1)
    assert result.departure is not None
    assert result.departure.module == module
    assert result.result in results and result.to_dict()["result"] == result.result


@pytest.mark.parametrize("target", TARGETS)
def test_values_taken_for_nodes_are_those_nodes(
    target: str, build: Callable[[str], Artifact], lowered: LoweredModel
) -> None:
    artifact = build(target)
    program = lowered.for_profile(get_target(target).profile).lowered.program
    parts = get_target(target).open_parts(artifact, 1)
    given = artifact.golden()[0]
    for output in range(3):
        partition = Partition(program, parts, output=output)
        assert len(partition.values) > 15
        x = dict(zip(partition.inputs, given.values(), strict=True))
        named = dict(zip(parts.inputs, given.values(), strict=True))
        values = parts.run(named, list(partition.values.values()))
        expected = Reference(program).part(x, list(partition.values))
        for node, value in partition.values.items():
            np.testing.assert_allclose(values[value], expected[node], rtol=1e-4, atol=1e-5, err_msg=node)


def test_against_another_target(
    build: Callable[[str], Artifact], lowered: LoweredModel, tmp_path: Path
) -> None:
    faulty = plant(build("openvino"), tmp_path / "faulty", openvino_weight("conv2d_2", scale(1.01)))
    result = bisect(faulty, lowered, against=build("onnx"), threads=1)
    assert result.departure is not None and result.departure.module == "model.tail"


def test_a_photo_is_nothing_to_such_a_network(
    build: Callable[[str], Artifact], lowered: LoweredModel, tmp_path: Path
) -> None:
    with pytest.raises(BadInputError, match="no photo; leave out --photo"):
        bisect(build("onnx"), lowered, photos=[tmp_path / "photo.png"], threads=1)
