import math

import pytest
import torch
from fdikp_edge.models.training.apertures import Aperture, extent, psf
from hypothesis import given
from hypothesis import strategies as st

APERTURES = st.builds(
    Aperture,
    blades=st.sampled_from([0, 5, 6, 7, 8, 9]),
    roundness=st.floats(0, 1),
    rotation=st.floats(0, 6.3),
    rim=st.just(0.0) | st.floats(0.01, 0.3),
    aberration=st.floats(-0.8, 0.8),
    cut=st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)),
)


def moments(taps: torch.Tensor) -> tuple[float, float, float]:
    """Return the centroid (x, y) and the mean squared distance from the centre."""
    reach = taps.shape[0] // 2
    axis = torch.arange(-reach, reach + 1, dtype=torch.float64)
    taps = taps.double()
    x, y = float((taps * axis[None]).sum()), float((taps * axis[:, None]).sum())
    return x, y, float((taps * (axis[None] ** 2 + axis[:, None] ** 2)).sum())


@given(st.floats(-14, 14), APERTURES)
def test_light_is_neither_lost_nor_made(radius: float, aperture: Aperture) -> None:
    taps = psf(radius, aperture)
    assert taps.shape == (2 * extent(radius, aperture) + 1,) * 2
    assert float(taps.min()) >= 0
    assert float(taps.sum()) == pytest.approx(1, abs=1e-5)


@given(APERTURES)
def test_no_radius_is_no_blur(aperture: Aperture) -> None:
    assert torch.equal(psf(0.0, aperture), torch.ones(1, 1))
    nearly = psf(1e-3, aperture)
    assert float(nearly[nearly.shape[0] // 2, nearly.shape[0] // 2]) == pytest.approx(1, abs=1e-6)


@given(st.floats(2.5, 14))
def test_a_disk_has_the_radius_asked_for(radius: float) -> None:
    x, y, spread = moments(psf(radius, Aperture(rim=0.0)))
    assert (x, y) == (pytest.approx(0, abs=1e-5), pytest.approx(0, abs=1e-5))
    # A disk's mean squared distance is R^2 / 2; pixels add the variance of a unit square.
    assert spread == pytest.approx(radius**2 / 2 + 1 / 6, rel=0.05, abs=0.1)


@given(st.floats(3, 14), st.sampled_from([5, 6, 7, 8, 9]), st.floats(0, 0.9), st.floats(0, 6.3))
def test_a_polygon_has_the_area_of_the_disk(radius: float, blades: int, soft: float, turn: float) -> None:
    taps = psf(radius, Aperture(blades=blades, roundness=0.0, rotation=turn, rim=soft * 0.1))
    # Inside, all taps are equal: one over the area.
    assert 1 / float(taps.max()) == pytest.approx(math.pi * radius**2, rel=0.06)


@given(st.floats(0.5, 10), APERTURES)
def test_in_front_of_the_focus_the_opening_is_upside_down(radius: float, aperture: Aperture) -> None:
    plain = Aperture(aperture.blades, aperture.roundness, aperture.rotation, 0.1, 0.0, aperture.cut)
    torch.testing.assert_close(psf(-radius, plain), psf(radius, plain).flip(0, 1), rtol=1e-3, atol=1e-5)


def test_aberration_moves_light_to_the_rim_behind_and_to_the_centre_in_front() -> None:
    spread = [moments(psf(r, Aperture(aberration=a)))[2] for r, a in ((6, 0.0), (6, 0.5), (-6, 0.5))]
    assert spread[2] < spread[0] < spread[1]


def test_the_barrel_cuts_one_side() -> None:
    x, y, _ = moments(psf(8, Aperture(cut=(0.5, 0.0))))
    assert x == pytest.approx(0.25 * 8, rel=0.05)  # what two equal disks share lies midway between them
    assert y == pytest.approx(0, abs=1e-4)
