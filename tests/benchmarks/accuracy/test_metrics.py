"""The measures, against their definitions, scikit-image and errors planted at a known place."""

from __future__ import annotations

import math

import numpy as np
import pytest
from fdikp_edge.benchmarks.accuracy.metrics import BAND_EDGES, bands, ssim
from fdikp_edge.runtime.images import read_photo
from fdikp_edge.runtime.pixels import PSNR_LIMIT_DB, psnr_db
from fdikp_edge.runtime.samples import sample_photo

PHOTO = read_photo(sample_photo()).pixels[100:180, 200:310] / 255


def noisy(amount: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return PHOTO + amount * np.random.default_rng(0).standard_normal(PHOTO.shape)


def test_psnr_of_a_known_error() -> None:
    assert psnr_db(PHOTO + 0.01, PHOTO) == pytest.approx(40.0, abs=1e-9)
    assert psnr_db(PHOTO, PHOTO) == PSNR_LIMIT_DB


@pytest.mark.parametrize("amount", [0.001, 0.02, 0.3])
def test_psnr_and_ssim_as_scikit_image_computes_them(amount: float) -> None:
    metrics = pytest.importorskip("skimage.metrics")
    degraded = noisy(amount)
    assert psnr_db(degraded, PHOTO) == pytest.approx(
        metrics.peak_signal_noise_ratio(PHOTO, degraded, data_range=1.0), abs=1e-9
    )
    expected = metrics.structural_similarity(
        PHOTO,
        degraded,
        data_range=1.0,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert ssim(degraded, PHOTO) == pytest.approx(expected, abs=1e-9)


def test_ssim_written_out_for_one_window() -> None:
    x, y = noisy(0.1)[:11, :11, :1], PHOTO[:11, :11, :1]
    i = np.arange(-5, 6)
    weights = np.exp(-(i[:, None] ** 2 + i**2) / 4.5)
    weights = (weights / weights.sum())[..., None]
    mx, my = (weights * x).sum(), (weights * y).sum()
    vx, vy = (weights * (x - mx) ** 2).sum(), (weights * (y - my) ** 2).sum()
    cov = (weights * (x - mx) * (y - my)).sum()
    expected = (2 * mx * my + 1e-4) * (2 * cov + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
    assert ssim(x, y) == pytest.approx(expected, abs=1e-12)


def test_ssim_of_equal_pictures_is_one_and_small_ones_are_refused() -> None:
    assert ssim(PHOTO, PHOTO) == pytest.approx(1.0, abs=1e-12)
    with pytest.raises(ValueError, match="11x11"):
        ssim(PHOTO[:10], PHOTO[:10])


@pytest.mark.parametrize("cycles", [1, 3, 6, 12, 25, 31])
def test_an_error_of_one_frequency_lands_in_its_band(cycles: int) -> None:
    size = 64
    expected = np.random.default_rng(1).random((size, size, 3))
    x = np.arange(size)
    wave = np.cos(2 * np.pi * cycles * x / size)[None, :, None] * np.ones((size, 1, 3))
    measured = bands(expected + 1e-3 * wave, expected)
    radius = 2 * cycles / size
    hit = [band for band in measured if band.low <= radius < band.high]
    assert len(hit) == 1
    # Energy of the wave over that of the ring of the reference, both from numpy's FFT.
    spectrum = np.abs(np.fft.fft2(expected, axes=(0, 1))) ** 2
    f = 2 * np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None, :])
    ring = spectrum[(f >= hit[0].low) & (f < hit[0].high)].sum()
    planted = 3 * 2 * (1e-3 * size * size / 2) ** 2
    assert hit[0].rel_error_db == pytest.approx(10 * math.log10(planted / ring), abs=1e-6)
    assert all(band.rel_error_db < hit[0].rel_error_db - 100 for band in measured if band is not hit[0])


def test_the_corners_of_the_spectrum_are_in_the_last_band() -> None:
    size = 16
    expected = np.random.default_rng(2).random((size, size, 1))
    board = ((np.indices((size, size)).sum(axis=0) % 2) * 2 - 1)[..., None]
    measured = bands(expected + 1e-2 * board, expected)
    assert measured[-1].high == BAND_EDGES[-1]
    assert max(measured, key=lambda band: band.rel_error_db) is measured[-1]


def test_equal_pictures_have_no_error_in_any_band() -> None:
    assert {band.rel_error_db for band in bands(PHOTO, PHOTO)} == {-PSNR_LIMIT_DB}
