"""A grid of known amplitude is measured; averaging the phases of a shuffle removes its grid."""

from __future__ import annotations

import pytest
import torch
from fdikp_edge.models import zoo
from fdikp_edge.models.upsampling_grid import PERIODS, amplitudes, edges, without_phases


def test_the_input_has_equal_rows() -> None:
    assert edges().shape == (1, 3, 256, 256)
    assert bool((edges() == edges()[:, :, :1]).all())
    assert max(amplitudes(edges()).values()) < 1e-3


@pytest.mark.parametrize("period", PERIODS)
def test_a_known_wave_is_measured(period: int) -> None:
    row = torch.arange(256.0)[:, None]
    wave = 3 / 255 * torch.cos(2 * torch.pi * row / period)
    measured = amplitudes((0.5 + wave).expand(1, 3, 256, 256))
    assert measured.pop(period) == pytest.approx(3, rel=1e-3)
    assert max(measured.values()) < 1e-3


def test_the_grid_of_four_pixels_is_that_of_up1() -> None:
    model = zoo.load("tiny")
    with torch.no_grad():
        trained, averaged = (
            amplitudes(network(edges())[-1]) for network in (model, without_phases(model, ["up1"]))
        )
    assert trained[4] > 1
    assert averaged[4] < trained[4] / 4
