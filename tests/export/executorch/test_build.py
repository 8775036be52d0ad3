"""A network as a program for ExecuTorch, in ExecuTorch's own runtime; skipped where it is not installed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from fdikp_edge.export.build import build_artifact
from fdikp_edge.export.executorch.delegates import open_delegate
from fdikp_edge.export.lowered import LoweredModel, lower_model
from fdikp_edge.runtime.artifact import Artifact, ArtifactWriter
from fdikp_edge.runtime.errors import ArtifactError, RunError, TargetUnavailableError
from fdikp_edge.runtime.sessions import open_session
from torch import Tensor, nn

pytest.importorskip("executorch", reason="executorch is not installed: pip install 'fdikp-edge[executorch]'")


class Net(nn.Module):
    """One transform, a filter and the way back, between convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.Conv2d(3, 4, 3, padding=1)
        self.filter = nn.Parameter(torch.rand(4, 8, 7, generator=torch.Generator().manual_seed(0)))
        self.after = nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(self.before(x), norm="ortho") * self.filter
        return x + self.after(torch.fft.irfft2(spectrum, s=x.shape[-2:], norm="ortho"))


@pytest.fixture(scope="module")
def model() -> LoweredModel:
    torch.manual_seed(0)
    return lower_model(Net().eval(), (8, 12), name="net", profile="executorch")


@pytest.fixture(scope="module")
def artifact(model: LoweredModel, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return build_artifact(model, "executorch", "fp32", tmp_path_factory.mktemp("et") / "a")


def test_it_computes_what_the_network_does_all_of_it_in_xnnpack(
    artifact: Artifact, model: LoweredModel
) -> None:
    x = np.random.default_rng(0).random((1, 3, 8, 12), np.float32)
    with open_session(artifact, threads=1) as session:
        np.testing.assert_allclose(session.run(x), model.reference(x), rtol=1e-4, atol=1e-5)
        assert session.describe()["runtime"] == "ExecuTorch"
        x.setflags(write=False)
        np.testing.assert_allclose(session.run(x), model.reference(x), rtol=1e-4, atol=1e-5)
    with pytest.raises(RunError, match="closed"):
        session.run(x)
    passport = artifact.passport
    assert passport.precision_census["operators outside the delegate"] == 0
    assert any("0 (0 %) stay outside" in note for note in passport.notes)


def test_the_file_says_what_it_is(artifact: Artifact) -> None:
    from executorch.runtime import Runtime

    program = Runtime.get().load_program(artifact.model_path.read_bytes())
    (text,) = program.load_method("fdikp_edge").execute([])
    facts = json.loads(text)
    assert (facts["inputs"], facts["outputs"], facts["model"]) == (
        [artifact.passport.input.name],
        [artifact.passport.output.name],
        "net",
    )


@pytest.mark.parametrize("change", ["identifier", "cut short", "another network"])
def test_a_hostile_file_is_refused_before_the_runtime_sees_it(
    artifact: Artifact, tmp_path: Path, change: str
) -> None:
    data = artifact.model_path.read_bytes()
    if change == "another network":  # a sound file, of other shapes than the passport's
        fixture = Path(__file__).resolve().parents[2] / "runtime" / "outside" / "program.pte"
        data = fixture.read_bytes()
    else:
        data = data[:4] + b"XX12" + data[8:] if change == "identifier" else data[: len(data) // 2]
    with ArtifactWriter(tmp_path / "bad") as writer:
        (writer.folder / "model.pte").write_bytes(data)
        for name in ("golden_input.npy", "golden_output.npy"):
            (writer.folder / name).write_bytes((artifact.path / name).read_bytes())
        bad = writer.commit(dataclasses.replace(artifact.passport, files={}))
    with pytest.raises(ArtifactError, match="Export the artifact again"):
        open_session(bad, threads=1)


def test_a_delegate_without_its_tools_is_refused_in_words() -> None:
    with pytest.raises(TargetUnavailableError, match=r"delegate qnn cannot be used here .*QNN_SDK_ROOT"):
        open_delegate("qnn")


class Angles(nn.Module):
    """One operator that XNNPACK does not take, and one that reads a list of which parts are left out."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.atan2(x, x + 1)[..., torch.tensor([2, 0, 1])] * 2


def test_the_trace_tells_what_runs_outside_the_delegate(artifact: Artifact, tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((1, 3, 8, 12), np.float32)
    with open_session(artifact, threads=1) as session:
        placement = session.placement({session.input.name: x}, 2)
        layers = session.layer_times({session.input.name: x}, 2)
    assert [(place.name, place.share, place.is_fallback) for place in placement.places] == [
        ("XNNPACK", 1.0, False)
    ]
    assert "Convolution (NHWC, F32) IGEMM" in {layer.operator for layer in layers}
    assert not placement.problems()
    assert all(layer.ms >= 0 for layer in layers) and sum(layer.ms for layer in layers) > 0

    model = lower_model(Angles().eval(), (8, 12), name="angles", profile="executorch")
    other = build_artifact(model, "executorch", "fp32", tmp_path / "a")
    with open_session(other, threads=1) as session:
        np.testing.assert_allclose(session.run(x), model.reference(x), rtol=1e-4, atol=1e-6)
        placement = session.placement({session.input.name: x}, 2)
    outside = next(place for place in placement.places if place.is_fallback)
    assert outside.name == "portable" and 0 < (outside.share or 0) < 1
    assert outside.operators == other.passport.precision_census["operators outside the delegate"]
    (problem,) = placement.problems()
    assert "--allow-fallback portable" in problem
    assert not placement.problems(["portable"])


class Everything(nn.Module):
    """What rules write in other ways: joined with itself, repeated, filled, edges, volumes."""

    def __init__(self) -> None:
        super().__init__()
        self.volume = nn.Conv3d(1, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        doubled = torch.cat([x, x, torch.ones_like(x), x], 1).repeat(1, 1, 2, 1)
        edges = nn.functional.pad(doubled[:, :3], (1, 2, 2, 1), mode="reflect")
        edges = nn.functional.pad(edges, (1, 1, 1, 1), mode="replicate")
        volumes = self.volume(edges[:, None]).flatten(1, 2)
        return torch.slice_scatter(volumes, nn.functional.softplus(edges[:, :1]), 1, 0, 1)


def test_what_rules_write_is_taken_by_xnnpack_and_computes_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = lower_model(Everything().eval(), (8, 12), name="everything", profile="executorch")
    artifact = build_artifact(model, "executorch", "fp32", tmp_path / "a")
    assert artifact.passport.precision_census["operators outside the delegate"] == 0
    x = np.random.default_rng(0).random((1, 3, 8, 12), np.float32)
    with open_session(artifact, threads=1) as session:
        np.testing.assert_allclose(session.run(x), model.reference(x), rtol=1e-4, atol=1e-5)
