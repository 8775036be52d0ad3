"""Zeros that a network makes itself vanish from the program; zeros that matter stay."""

from __future__ import annotations

import pytest
import torch
from fdikp_edge.export.spectral import lower
from fdikp_edge.export.spectral.lower import LoweredProgram
from fdikp_edge.models.fdikp.dsrm import ConvLSTM
from torch import Tensor, nn


class FirstStep(nn.Module):
    """A recurrent cell at its first step, when nothing is remembered."""

    def __init__(self, *, separable: bool) -> None:
        super().__init__()
        self.cell = ConvLSTM(4, separable=separable)

    def forward(self, x: Tensor) -> Tensor:
        zero = x.new_zeros(x.shape)
        hidden, cell = self.cell(x, (zero, zero))
        return torch.fft.irfft2(torch.fft.rfft2(hidden), s=x.shape[-2:]) + cell


class Joined(nn.Module):
    """Zeros between other channels, to a convolution."""

    def __init__(self, axis: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.axis = axis
        self.mix = nn.Conv2d(6, 4, 3, stride=2, padding=1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        zero = torch.zeros(x.shape)
        return self.mix(torch.cat([x, zero, x.flip(1)], dim=self.axis))


class Sums(nn.Module):
    """Sums and products with zeros that may not be dropped: another shape, another dtype, no bound."""

    def forward(self, x: Tensor) -> Tensor:
        wide = x[:, :1] + torch.zeros_like(x)
        exact = x + torch.zeros(x.shape, dtype=torch.float64)
        infinite = x.exp() * torch.zeros_like(x)
        return wide + exact + infinite + torch.zeros_like(x) * 2


def checked(network: nn.Module, x: Tensor) -> LoweredProgram:
    torch.manual_seed(0)
    lowered = lower(network.eval(), (x,))
    torch.testing.assert_close(lowered.program.module()(x), network(x), atol=1e-5, rtol=1e-5)
    return lowered


def test_an_empty_memory_costs_neither_channels_nor_space():
    torch.manual_seed(1)
    lowered = checked(FirstStep(separable=False), torch.randn(1, 4, 8, 10))
    (convolution,) = (n for n in lowered.program.graph.nodes if str(n.target) == "aten.conv2d.default")
    assert tuple(convolution.args[0].meta["val"].shape) == (1, 4, 8, 10)
    assert not any((t == 0).all() for n, t in lowered.program.state_dict.items() if "constant" in n)


def test_a_separable_memory_is_still_right():
    torch.manual_seed(1)
    checked(FirstStep(separable=True), torch.randn(1, 4, 8, 10))


@pytest.mark.parametrize(("axis", "read"), [(1, 4), (-3, 4)])
def test_channels_that_are_zeros_are_not_read(axis: int, read: int):
    lowered = checked(Joined(axis), torch.randn(1, 2, 9, 7))
    (convolution,) = (n for n in lowered.program.graph.nodes if str(n.target) == "aten.conv2d.default")
    assert convolution.args[0].meta["val"].shape[1] == read


def test_groups_are_left_alone():
    lowered = checked(Joined(groups=2), torch.randn(1, 2, 8, 8))
    (convolution,) = (n for n in lowered.program.graph.nodes if str(n.target) == "aten.conv2d.default")
    assert convolution.args[0].meta["val"].shape[1] == 6


def test_zeros_that_change_shape_or_dtype_or_meet_infinity_stay():
    network = Sums()
    lowered = checked(network, torch.randn(1, 3, 4, 4))
    x = torch.full((1, 3, 4, 4), 1e4)
    assert network(x).isnan().all()  # infinity times zero
    assert lowered.program.module()(x).isnan().all()
