import pytest
import torch
from fdikp_edge.models.training.apertures import Aperture
from fdikp_edge.models.training.camera import Camera, develop
from fdikp_edge.models.training.defocus import Layer, defocused, sharp
from fdikp_edge.models.training.samples import ROUND, photograph
from fdikp_edge.models.training.scenes import random_exposure, random_radius, random_stop, soften
from hypothesis import given
from hypothesis import strategies as st


@given(deviation=st.floats(0.55, 1.0))
def test_softening_keeps_the_light_and_spreads_a_point_as_far_as_asked(deviation: float) -> None:
    point = torch.zeros(1, 15, 15)
    point[0, 7, 7] = 1
    spread = soften(point, deviation)[0].double()
    assert float(spread.sum()) == pytest.approx(1, abs=1e-6)
    variance = float((spread.sum(dim=0) * (torch.arange(15) - 7) ** 2).sum())
    # Sampling narrows a Gaussian below about half a pixel; seven taps cut a wide one.
    assert variance == pytest.approx(deviation**2, rel=0.1)


def test_softening_by_nothing_is_the_identity() -> None:
    picture = torch.rand(3, 9, 7)
    assert torch.equal(soften(picture, 0.0), picture)


@pytest.mark.parametrize("stop", [0.0, 0.3, 1.0])
def test_the_sharp_partner_is_the_scene_through_the_lens_stopped_down(stop: float) -> None:
    generator = torch.Generator().manual_seed(0)
    scene = [
        Layer(torch.rand(3, 48, 48, generator=generator), torch.ones(1, 48, 48), torch.full((48, 48), 4.0))
    ]
    blurred, target = photograph(scene, Aperture(blades=6), Camera(), 8, generator, stop)
    assert blurred.shape == target.shape == (3, 32, 32)
    smaller = [Layer(scene[0].light, scene[0].coverage, scene[0].radius * stop)]
    expected = defocused(smaller, ROUND) if stop else sharp(scene)
    torch.testing.assert_close(target, develop(expected[:, 8:40, 8:40], Camera()))
    assert float(target.std()) > float(blurred.std()) or stop == 1.0


def test_small_circles_are_drawn_more_often_than_large_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    middles = torch.stack([random_radius(8, 12.0, generator).abs().mean() for _ in range(400)])
    assert float(middles.median()) == pytest.approx(0.35 * 12, abs=0.6) and float(middles.max()) > 10


def test_half_of_the_scenes_keep_their_exposure_and_their_sharp_partner() -> None:
    generator = torch.Generator().manual_seed(0)
    exposures = torch.tensor([random_exposure(generator) for _ in range(400)])
    stops = torch.tensor([random_stop(generator) for _ in range(400)])
    assert 0.4 < float((exposures == 1).float().mean()) < 0.6 and float(exposures.min()) >= 0.25
    assert 0.4 < float((stops == 0).float().mean()) < 0.6 and float(stops.max()) <= 0.35
