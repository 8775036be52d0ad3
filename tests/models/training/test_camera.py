import pytest
import torch
from fdikp_edge.models.training.camera import Camera, add_noise, develop, through_jpeg, to_linear, to_srgb
from hypothesis import given
from hypothesis import strategies as st


def test_srgb_is_undone_and_meets_known_values() -> None:
    values = torch.linspace(0, 1, 1001, dtype=torch.float64)
    torch.testing.assert_close(to_srgb(to_linear(values)), values, rtol=0, atol=2e-6)
    assert float(to_srgb(torch.tensor([0.18]))) == pytest.approx(0.4614, abs=1e-4)  # middle grey
    assert float(to_srgb(torch.tensor([7.0]))) == pytest.approx(1.0, abs=1e-6)


@given(st.floats(-0.3, 0.3))
def test_the_tone_curve_rises_from_black_to_white(contrast: float) -> None:
    picture = develop(torch.linspace(0, 1, 500), Camera(contrast=contrast))
    assert float(picture[0]) == 0 and float(picture[-1]) == pytest.approx(1, abs=1e-6)
    assert bool((picture.diff() > 0).all())


@pytest.mark.parametrize("light", [0.0, 0.2, 0.9])
def test_noise_has_the_variance_of_photons_and_electronics(light: float) -> None:
    camera = Camera(shot=2e-3, read=5e-3)
    noisy = add_noise(torch.full((3, 300, 300), light), camera, torch.Generator().manual_seed(0))
    assert float(noisy.mean()) == pytest.approx(light, abs=2e-4)
    assert float(noisy.var()) == pytest.approx(2e-3 * light + 25e-6, rel=0.02)


def test_without_jpeg_only_rounding_is_lost() -> None:
    picture = torch.rand(3, 16, 24)
    assert float((through_jpeg(picture, None) - picture).abs().max()) <= 0.5 / 255 + 1e-6


def test_jpeg_loses_more_at_lower_quality() -> None:
    picture = torch.rand(3, 64, 64)
    errors = [float((through_jpeg(picture, quality) - picture).square().mean()) for quality in (100, 90, 50)]
    assert 0 < errors[0] < errors[1] < errors[2]
