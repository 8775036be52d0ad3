"""Small networks, and artifacts of them for ONNX Runtime, built once for the tests of this folder."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from fdikp_edge.export.build import build_artifact
from fdikp_edge.export.lowered import lower_model
from fdikp_edge.export.reference import Reference
from fdikp_edge.runtime.artifact import Artifact
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))

SIZE = (32, 48)


class Blend(nn.Module):
    """Mixes an image with its own low-pass; ``bias`` is added, which makes a known difference."""

    def __init__(self, bias: float = 0.0, gain: float = 1.0) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(bias))
        self.gain = nn.Parameter(torch.tensor(gain))
        pattern = torch.linspace(1, 0, 17)[None, :] * torch.linspace(1, 0.5, 16)[:, None]
        self.register_buffer("low", pattern)

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(x, norm="ortho")
        rows, columns = spectrum.shape[-2:]
        low = nn.functional.interpolate(self.low[None, None], (rows, columns), mode="bilinear")
        smooth = torch.fft.irfft2(spectrum * low, s=x.shape[-2:], norm="ortho")
        return self.gain * (x + 0.2 * smooth) + self.bias


Make = Callable[..., Artifact]


@pytest.fixture(scope="session")
def blend() -> type[Blend]:
    return Blend


@pytest.fixture(scope="session")
def make_artifact(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Return a function from a module (and a contract) to its artifact for ONNX Runtime."""
    folder = tmp_path_factory.mktemp("artifacts")
    folders: list[Path] = []

    def make(model: nn.Module, contract: str = "float_nchw", size: tuple[int, int] = SIZE) -> Artifact:
        folders.append(folder / str(len(folders)))
        lowered = lower_model(model, size, contract=contract)
        return build_artifact(lowered, "onnx", "fp32", folders[-1])

    return make


@pytest.fixture(scope="session")
def good(make_artifact: Make) -> Artifact:
    return make_artifact(Blend())


@pytest.fixture(scope="session")
def reference() -> Reference:
    from fdikp_edge.export.contracts import Deployable

    return Reference(Deployable(Blend()).eval())


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other cost more than these networks, and workers share the processor."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
