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
