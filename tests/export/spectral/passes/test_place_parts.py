"""Parts of spectra are stacked where the network puts them, and taken from where they lie."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from fdikp_edge.export.aten import base_name
from fdikp_edge.export.spectral import lower
from fdikp_edge.export.spectral.lower import LoweredProgram
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn


class FourierUnit(nn.Module):
    """A layer on the spectrum's parts as channels, which are moved there and back by permutes."""

    def __init__(self, stack: str, channels: int = 3) -> None:
        super().__init__()
        self.stack = stack
        self.mix = nn.Conv2d(2 * channels, 2 * channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        b, _, h, w = x.shape
        spectrum = torch.fft.rfft2(x)
        if self.stack == "cat":
            parts = torch.cat((spectrum.real.unsqueeze(-1), spectrum.imag.unsqueeze(-1)), -1)
        elif self.stack == "stack":
            parts = torch.stack((spectrum.real, spectrum.imag), -1)
        else:
            parts = torch.view_as_real(spectrum)
        maps = parts.permute(0, 1, 4, 2, 3).contiguous().view(b, -1, h, w // 2 + 1)
        mixed = self.mix(maps).relu().view(b, -1, 2, h, w // 2 + 1)
        back = mixed.permute(0, 1, 3, 4, 2).contiguous()
        return torch.fft.irfft2(torch.view_as_complex(back), s=(h, w))


class Moved(nn.Module):
    """A stack on one axis and a permute of it, which are the whole network."""

    def __init__(self, axis: int, order: tuple[int, ...], count: int) -> None:
        super().__init__()
        self.axis, self.order, self.count = axis, order, count

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        stacked = torch.stack([x * (i + 1) for i in range(self.count)], self.axis).permute(self.order)
        return stacked, stacked.permute(self.order).select(self.axis, self.count - 1)


def counts(lowered: LoweredProgram) -> Counter[str]:
    return Counter(base_name(node.target) for node in lowered.program.graph.nodes)


@pytest.mark.parametrize("stack", ["cat", "stack", "view_as_real"])
def test_no_permute_is_left_of_parts_moved_to_channels_and_back(stack: str) -> None:
    torch.manual_seed(0)
    network, x = FourierUnit(stack).eval(), torch.rand(1, 3, 8, 10)
    lowered = lower(network, (x,))
    assert not counts(lowered)["permute"]
    assert max(node.meta["val"].dim() for node in lowered.program.graph.nodes if "val" in node.meta) == 5
    expected = network.double()(x.double())
    assert (lowered.program.module()(x) - expected).abs().max() < 1e-5


def test_a_permute_that_moves_other_axes_too_stays() -> None:
    lowered = lower(Moved(3, (0, 3, 2, 1), 2).eval(), (torch.rand(2, 3, 4),))
    assert counts(lowered)["permute"]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_stacks_permutes_and_selections_of_every_order_keep_their_values(data: st.DataObject) -> None:
    rank = data.draw(st.integers(2, 4), label="axes after stacking")
    order = tuple(data.draw(st.permutations(range(rank)), label="order"))
    axis = data.draw(st.integers(0, rank - 1), label="axis")
    network = Moved(axis, order, data.draw(st.integers(2, 3), label="parts")).eval()
    # every size from 2 to 5, so that an axis in the wrong place has the wrong size
    x = torch.rand([2, 3, 4][: rank - 1])
    try:
        expected = network(x)
    except IndexError:  # the selection is beyond the axis that stands there after two permutes
        return
    results = lower(network, (x,)).program.module()(x)
    assert all(torch.equal(result, right) for result, right in zip(results, expected, strict=True))
