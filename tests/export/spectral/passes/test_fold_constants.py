"""What depends on constants alone is computed once; what depends on chance or input is not."""

from __future__ import annotations

import torch
from fdikp_edge.export.spectral import lower
from torch import Tensor, nn


class Filter(nn.Module):
    """Circular convolution with a stored kernel through its transform."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(3, 1, 9, 9))

    def forward(self, x: Tensor) -> Tensor:
        transfer = torch.fft.rfft2(self.kernel, s=(24, 20))
        return torch.fft.irfft2(torch.fft.rfft2(x) * transfer[None, :, 0], s=(24, 20))


class Grid(nn.Module):
    """A frequency grid made in forward, as researchers write it."""

    def forward(self, x: Tensor) -> Tensor:
        radius = torch.sqrt(torch.fft.fftfreq(24)[:, None] ** 2 + torch.fft.rfftfreq(20)[None] ** 2)
        return torch.fft.irfft2(torch.fft.rfft2(x) * torch.exp(-(radius**2) * 8), s=(24, 20))


class Noisy(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.irfft(torch.fft.rfft(x)) + torch.rand(3)[0]


def test_the_transform_of_a_stored_kernel_is_a_constant():
    torch.manual_seed(0)
    network, x = Filter().eval(), torch.randn(2, 3, 24, 20)
    lowered = lower(network, (x,))
    assert len(lowered.plan.choices) == 2  # of the image, there and back
    assert not any("kernel" in name for name in lowered.program.state_dict)
    torch.testing.assert_close(lowered.program.module()(x), network(x), atol=1e-4, rtol=1e-5)


def test_a_frequency_grid_leaves_no_arithmetic_behind():
    x = torch.randn(2, 3, 24, 20)
    lowered = lower(Grid(), (x,))
    assert not any(
        word in name for name in lowered.audit.operators for word in ("exp.", "sqrt", "arange", "fftfreq")
    )
    torch.testing.assert_close(lowered.program.module()(x), Grid()(x), atol=1e-5, rtol=1e-5)


def test_random_numbers_stay_random():
    x = torch.zeros(2, 12)
    program = lower(Noisy(), (x,)).program.module()
    assert {float(program(x)[0, 0]) for _ in range(4)} != {float(program(x)[0, 0])}


def test_equal_constants_are_stored_once():
    class Twice(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.irfft2(torch.fft.rfft2(torch.fft.irfft2(torch.fft.rfft2(x)) * 2))

    class Once(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.irfft2(torch.fft.rfft2(x))

    x = torch.randn(1, 2, 40, 36)
    assert lower(Twice(), (x,)).audit.constants_bytes == lower(Once(), (x,)).audit.constants_bytes
