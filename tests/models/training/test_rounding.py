"""The penalty on rounding, against the variance of uniform noise, which is known."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from fdikp_edge.models.patterns import patterns
from fdikp_edge.models.training.rounding import FLOOR, penalty, rounded_layers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

PHOTO = torch.rand((1, 3, 256, 256), generator=torch.Generator().manual_seed(0))


class Times(nn.Module):
    """A network that multiplies its picture, and has a coarse result as well."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x[..., ::2, ::2], x * self.factor]


@pytest.mark.parametrize("factor", [1.0, 2.0, 16.0])
def test_half_a_step_in_the_picture_counts_as_it_is_enlarged(factor: float) -> None:
    value = float(penalty(Times(factor), PHOTO, seed=1).detach())
    assert value == pytest.approx(math.log1p(factor**2), rel=5e-3)


def test_layers_read_what_8_bits_of_their_range_leave() -> None:
    layer = nn.Conv2d(3, 3, 1, bias=False)
    nn.init.dirac_(layer.weight)
    x = 4 * PHOTO - 1
    with rounded_layers(layer, torch.Generator().manual_seed(0)):
        noise = layer(x) - x
    step = float(x.max() - x.min()) / 255
    assert float(noise.detach().var()) == pytest.approx(step**2 / 12, rel=5e-3)
    assert float(noise.detach().abs().max()) <= step / 2 + 1e-6
    assert torch.equal(layer(x), x), "after the block nothing is disturbed"


def test_the_penalty_lowers_what_a_network_makes_of_noise() -> None:
    model = Times(6.0)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.3)
    for step in range(20):
        optimiser.zero_grad()
        penalty(model, PHOTO, step).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert abs(float(model.factor.detach())) < 5


def test_a_seed_is_a_penalty() -> None:
    values = [float(penalty(Times(3.0), PHOTO, seed).detach()) for seed in (4, 4, 5)]
    assert values[0] == values[1] != values[2]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32), height=st.integers(8, 40), width=st.integers(8, 40), batch=st.integers(1, 3)
)
def test_patterns_are_pictures_of_8_bits(seed: int, height: int, width: int, batch: int) -> None:
    shape = (batch, 3, height, width)
    pictures: Any = patterns(shape, torch.Generator().manual_seed(seed))
    assert pictures.shape == shape and pictures.dtype == torch.float32
    assert float(pictures.min()) >= 0 and float(pictures.max()) <= 1
    assert torch.allclose(pictures * 255, (pictures * 255).round(), atol=1e-4)
    assert pytest.approx(1 / 255**2 / 12) == FLOOR
