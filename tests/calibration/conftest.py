"""Photos made here, and a small network lowered once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fdikp_edge.export.lowered import LoweredModel, lower_model
from fdikp_edge.runtime.images import write_photo
from fdikp_edge.runtime.photo import Photo
from spectral_net import SIZE, SpectralNet

MakePhotos = Callable[..., list[Path]]


@pytest.fixture(scope="session")
def lowered() -> LoweredModel:
    return lower_model(SpectralNet(mean=40.0).eval(), SIZE, name="spectral-net")


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
