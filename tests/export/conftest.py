"""A small deblurring network that uses torch.fft, lowered once for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from fdikp_edge.export.lowered import LoweredModel, lower_model
from torch import Tensor, nn


class FourierNet(nn.Module):
    """Returns a coarse and a fine image, as FDIKP does; takes any even size."""

    def __init__(self, channels: int = 4, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.head = nn.Conv2d(3, channels, 3, padding=1)
            self.mix = nn.Conv2d(2 * channels, 2 * channels, 1)
            self.tail = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, image: Tensor) -> list[Tensor]:
        f = torch.relu(self.head(image))
        spectrum = torch.fft.rfft2(f, norm="ortho")
        re, im = self.mix(torch.cat([spectrum.real, spectrum.imag], 1)).chunk(2, 1)
        f = f + torch.fft.irfft2(torch.complex(re, im), s=f.shape[-2:], norm="ortho")
        return [nn.functional.avg_pool2d(image, 2), image + 0.1 * self.tail(f)]


SIZE = (24, 40)


@pytest.fixture(scope="session")
def make_network() -> type[FourierNet]:
    return FourierNet


@pytest.fixture(scope="session")
def network() -> nn.Module:
    return FourierNet().eval()


@pytest.fixture(scope="session")
def lowered(network: nn.Module) -> LoweredModel:
    return lower_model(network, SIZE, name="fourier-net")


@pytest.fixture(scope="session")
def lowered_bytes(network: nn.Module) -> LoweredModel:
    return lower_model(network, SIZE, name="fourier-net", contract="uint8_nhwc")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other cost more than these networks, and workers share the processor."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
