"""A network lowered at several sizes becomes one folder of artifacts, or none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from fdikp_edge.export import lower_model
from fdikp_edge.export.sizes import build_sizes, check_sizes
from fdikp_edge.models import sources
from fdikp_edge.models.sources import NetworkSource, TensorSpec
from fdikp_edge.runtime.errors import ArtifactError, BadInputError, LoweringError, OutputExistsError
from fdikp_edge.runtime.sessions import open_session
from torch import nn

SIZES = [(16, 24), (32, 16)]


class Soften(nn.Module):
    """Halves a spectrum after a convolution with weights of its own."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.mix = nn.Conv2d(3, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.fft.irfft2(0.5 * torch.fft.rfft2(self.mix(x)), s=x.shape[-2:])


def test_each_size_computes_what_the_network_does(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    network = Soften().eval()
    told: list[str] = []
    models = [lower_model(network, size) for size in SIZES]
    buckets = build_sizes(models, SIZES, "onnx", "fp32", tmp_path / "net", progress=told.append)
    assert told == ["16x24", "32x16"] == sorted(path.name for path in (tmp_path / "net").iterdir())
    assert [artifact.passport.input.size for artifact in buckets.artifacts] == SIZES
    for artifact in buckets.artifacts:
        x = np.random.default_rng(0).random((1, 3, *artifact.passport.input.size), np.float32)
        with torch.no_grad(), open_session(artifact, threads=1) as session:
            assert np.abs(session.run(x) - network(torch.from_numpy(x)).numpy()).max() < 1e-5


def test_what_cannot_be_one_network_leaves_nothing(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    models = [lower_model(Soften(seed).eval(), size) for seed, size in enumerate(SIZES)]
    with pytest.raises(ArtifactError, match="differ in weights"):
        build_sizes(models, SIZES, "onnx", "fp32", tmp_path / "net")
    with pytest.raises(BadInputError, match="two of the sizes"):
        build_sizes(models, [SIZES[0]] * 2, "onnx", "fp32", tmp_path / "net")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "net" / "8x8").mkdir(parents=True)
    (tmp_path / "net" / "8x8" / "passport.json").write_text("{}")
    with pytest.raises(OutputExistsError):
        build_sizes(models, SIZES, "onnx", "fp32", tmp_path / "net")


def test_several_sizes_where_they_mean_nothing() -> None:
    open_size = sources.of(Soften())
    check_sizes(open_size, SIZES)
    fixed = NetworkSource("fixed", "", Soften, (TensorSpec("x", (1, 3, 16, 16)),))
    check_sizes(fixed, SIZES[:1], table=object())
    with pytest.raises(BadInputError, match="fixed: takes one size only"):
        check_sizes(fixed, SIZES)
    with pytest.raises(BadInputError, match="table belongs to one size"):
        check_sizes(open_size, SIZES, table=object())
    with pytest.raises(BadInputError, match="no size"):
        check_sizes(open_size, [])


class Sound(nn.Module):
    """Takes [1, N] only."""

    def forward(self, sound: torch.Tensor) -> torch.Tensor:
        batch, length = sound.shape
        return torch.fft.irfft(torch.fft.rfft(sound), n=length).reshape(batch, length)


def test_an_assumed_picture_is_named_where_the_network_takes_something_else() -> None:
    with pytest.raises(LoweringError, match=r"cannot trace Sound at .*a picture was assumed.*--input sound="):
        lower_model(Sound().eval(), (16, 16))
    declared = NetworkSource("sound", "", lambda: Sound().eval(), (TensorSpec("sound", (1, 2, 8)),))
    with pytest.raises(LoweringError) as caught:
        lower_model(declared, None)
    assert "assumed" not in str(caught.value)
