"""Preparation that a transform undoes is dropped, and only that."""

from __future__ import annotations

import torch
from fdikp_edge.export.spectral import lower
from fdikp_edge.models.fdikp.spectrum import project_hermitian
from torch import Tensor, nn


class Projected(nn.Module):
    """A spectrum made of two real maps, projected, transformed back."""

    def __init__(self, width: int, prepare: str) -> None:
        super().__init__()
        self.width, self.prepare = width, prepare

    def forward(self, re: Tensor, im: Tensor) -> Tensor:
        z = torch.complex(re, im)
        if self.prepare == "projection":
            z = project_hermitian(z, self.width)
        elif self.prepare == "twice":
            z = project_hermitian(project_hermitian(z, self.width), self.width)
        elif self.prepare == "flip":
            z = torch.flip(z, (-2,))
        elif self.prepare == "scale":
            z = z * 2
        return torch.fft.irfft2(z, s=(re.shape[-2], self.width))


def _spectrum(height: int, width: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(height * width)
    shape = (1, 2, height, width // 2 + 1)
    return torch.randn(shape), torch.randn(shape)


def _concatenations(prepare: str, height: int, width: int) -> int:
    inputs = _spectrum(height, width)
    network = Projected(width, prepare)
    lowered = lower(network, inputs)
    torch.testing.assert_close(lowered.program.module()(*inputs), network(*inputs), atol=2e-6, rtol=0)
    return sum(count for name, count in lowered.audit.operators.items() if "cat" in name or "flip" in name)


def test_a_projection_before_the_inverse_transform_costs_nothing():
    for height, width in ((8, 8), (6, 7), (64, 48), (5, 9)):
        assert _concatenations("projection", height, width) == 0


def test_two_projections_are_dropped_together():
    assert _concatenations("twice", 8, 8) == 0


def test_preparation_that_changes_the_result_stays():
    assert _concatenations("flip", 8, 8) > 0
    inputs = _spectrum(8, 8)
    network = Projected(8, "scale")
    torch.testing.assert_close(
        lower(network, inputs).program.module()(*inputs), network(*inputs), atol=4e-6, rtol=0
    )


def test_a_projection_that_something_else_reads_still_exists_for_it():
    class Shared(nn.Module):
        def forward(self, re: Tensor, im: Tensor) -> Tensor:
            z = project_hermitian(torch.complex(re, im), 8)
            return torch.fft.irfft2(z, s=(8, 8)) + z.abs().sum()

    inputs = _spectrum(8, 8)
    output = lower(Shared(), inputs).program.module()(*inputs)
    torch.testing.assert_close(output, Shared()(*inputs), atol=1e-4, rtol=1e-5)
