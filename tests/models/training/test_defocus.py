import pytest
import torch
import torch.nn.functional as F
from fdikp_edge.models.training.apertures import Aperture, psf
from fdikp_edge.models.training.defocus import Layer, blur, blur_by_map, defocused, margin, sharp
from hypothesis import given, settings
from hypothesis import strategies as st

BEAN = Aperture(blades=5, roundness=0.2, rotation=0.3, aberration=0.4, cut=(0.3, -0.2))


def whole(light: torch.Tensor, radius: float) -> Layer:
    side = light.shape[-1]
    return Layer(light, torch.ones(1, side, side), torch.full((side, side), radius))


@settings(max_examples=25)
@given(st.integers(5, 40), st.integers(5, 40), st.lists(st.floats(0.3, 6), min_size=1, max_size=3))
def test_blur_is_a_true_convolution_with_replicated_borders(h: int, w: int, radii: list[float]) -> None:
    image = torch.rand(2, h, w, dtype=torch.float64)
    kernels = [psf(r, BEAN).double() for r in radii]
    blurred = blur(image, kernels)
    for kernel, result in zip(kernels, blurred, strict=True):
        reach = kernel.shape[0] // 2
        padded = F.pad(image[None], (reach,) * 4, mode="replicate")[0][:, None]
        expected = F.conv2d(padded, kernel.flip(0, 1)[None, None])[:, 0]
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-12)


def test_no_blur_changes_nothing() -> None:
    light = torch.rand(3, 20, 24)
    assert torch.equal(blur_by_map(light, torch.zeros(20, 24), BEAN), light)


@pytest.mark.parametrize("radius", [-5.0, 0.4, 3.0])
def test_a_point_of_light_becomes_the_psf(radius: float) -> None:
    light = torch.zeros(3, 31, 31)
    light[:, 15, 15] = 7.0
    blurred = defocused([whole(light, radius)], BEAN)
    assert float(blurred.sum()) == pytest.approx(21.0, rel=1e-5)
    kernel = psf(radius, BEAN)
    reach = kernel.shape[0] // 2
    middle = blurred[1, 15 - reach : 16 + reach, 15 - reach : 16 + reach]
    torch.testing.assert_close(middle, 7 * kernel, rtol=1e-4, atol=1e-6)


def test_a_varying_map_blurs_each_place_by_its_own_radius_and_keeps_flat_light_flat() -> None:
    radius = torch.linspace(-6, 6, 64).expand(64, 64)
    flat = torch.full((3, 64, 64), 0.3)
    torch.testing.assert_close(blur_by_map(flat, radius, BEAN), flat, rtol=0, atol=1e-6)
    light = torch.rand(3, 64, 64)
    blurred = blur_by_map(light, radius, BEAN)
    ends = blur(light, [psf(-6, BEAN), psf(6, BEAN)])
    torch.testing.assert_close(blurred[:, :, 0], ends[0][:, :, 0], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(blurred[:, :, -1], ends[1][:, :, -1], rtol=1e-4, atol=1e-6)


def test_a_focused_foreground_hides_what_is_behind_it() -> None:
    background, foreground = torch.rand(3, 48, 48), torch.rand(3, 48, 48)
    coverage = torch.zeros(1, 48, 48)
    coverage[:, :, 24:] = 1
    scene = [whole(background, 5.0), Layer(foreground, coverage, torch.zeros(48, 48))]
    blurred = defocused(scene, Aperture())
    assert torch.equal(blurred[:, :, 24:], foreground[:, :, 24:])  # no light of the background spills over it
    assert torch.equal(sharp(scene)[:, :, :24], background[:, :, :24])


def test_a_blurred_foreground_spills_over_what_is_behind_it() -> None:
    coverage = torch.zeros(1, 48, 48)
    coverage[:, :, 24:] = 1
    white, black = torch.ones(3, 48, 48), torch.zeros(3, 48, 48)
    blurred = defocused([whole(black, 0.0), Layer(white, coverage, torch.full((48, 48), 4.0))], Aperture())
    row = blurred[0, 24]
    assert float(row[18]) == pytest.approx(0, abs=1e-6) and float(row[30]) == pytest.approx(1, abs=1e-5)
    assert 0.05 < float(row[21]) < 0.5 < float(row[26]) < 0.95
    assert bool((row[1:] >= row[:-1] - 1e-6).all())


def test_margin_is_where_light_comes_from() -> None:
    border = margin(6.0, BEAN)
    light = torch.rand(3, 40 + 2 * border, 40 + 2 * border)
    other = light.clone()
    other[:, 0] = 9.0  # a pixel beyond the margin's reach of the inner part would show
    inside = slice(border + 1, border + 41)
    blurred = [blur_by_map(x, torch.full(x.shape[1:], 6.0), BEAN)[:, inside, inside] for x in (light, other)]
    torch.testing.assert_close(blurred[0], blurred[1], rtol=0, atol=1e-5)
