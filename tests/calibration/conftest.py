"""Photos made here, and a small network lowered once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from fdikp_edge.export.build import LoweredModel, lower_model
from fdikp_edge.runtime.images import write_photo
from fdikp_edge.runtime.photo import Photo
from torch import Tensor, nn

SIZE = (64, 64)
MakePhotos = Callable[..., list[Path]]


class SpectralNet(nn.Module):
    """Convolutions around a filter on the spectrum, which sees a mean far above all else."""

    def __init__(self, *, norm: str = "ortho", gain: float = 1.0) -> None:
        super().__init__()
        self.norm = norm
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.head = nn.Conv2d(3, 16, 3, padding=1)
            self.mix = nn.Conv2d(32, 32, 1)
            self.tail = nn.Conv2d(16, 3, 3, padding=1)
            with torch.no_grad():
                self.head.weight.mul_(gain)
                self.mix.weight.copy_(torch.eye(32)[:, :, None, None])

    def forward(self, x: Tensor) -> Tensor:
        f = torch.relu(self.head(x)) + 40
        z = torch.fft.rfft2(f, norm=self.norm)
        re, im = self.mix(torch.cat([z.real, z.imag], 1)).chunk(2, 1)
        f = torch.fft.irfft2(torch.complex(re, im), s=f.shape[-2:], norm=self.norm)
        return x + 0.3 * self.tail(f - 40)


@pytest.fixture(scope="session")
def make_network() -> type[SpectralNet]:
    return SpectralNet


@pytest.fixture(scope="session")
def lowered() -> LoweredModel:
    return lower_model(SpectralNet().eval(), SIZE, name="spectral-net")


@pytest.fixture
def make_photos(tmp_path: Path) -> MakePhotos:
    def make(count: int = 4, size: tuple[int, int] = (80, 96), level: float | None = None) -> list[Path]:
        rng = np.random.default_rng(0)
        paths = []
        for index in range(count):
            base = level if level is not None else 40 + 50 * index
            pixels = np.full((*size, 3), base, np.float64)
            if level is None:
                pixels += 10 * (index + 1) * np.sin(np.arange(size[1]) / (2 + index))[None, :, None]
                pixels += rng.normal(0, 4 * index, pixels.shape)
            path = tmp_path / f"photo{index}.png"
            write_photo(path, Photo(np.clip(pixels, 0, 255).astype(np.uint8)))
            paths.append(path)
        return paths

    return make
