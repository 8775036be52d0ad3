"""How far two pictures are apart. Arrays are height x width x channels, float, with white at 1."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from ...runtime.photo import Array
from ...runtime.pixels import PSNR_LIMIT_DB

BAND_EDGES = (0.0, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0, math.sqrt(2.0))
"""Edges of the radial frequency bands, as parts of the Nyquist frequency; the last band is the corners."""


@dataclass(frozen=True)
class Band:
    """Error in one ring of the spectrum: energy of the difference over that of the reference, in decibels."""

    low: float
    high: float
    rel_error_db: float


def ssim(actual: Array, expected: Array) -> float:
    """Return the structural similarity, mean over pixels and channels; 1 for equal pictures.

    As defined by Wang, Bovik, Sheikh and Simoncelli, "Image Quality Assessment: From Error Visibility to
    Structural Similarity" (2004): a Gaussian window of 11x11 with sigma 1.5, K1 = 0.01, K2 = 0.03, and only
    windows that lie inside the picture. Each channel by itself.

    Raises:
        ValueError: a picture narrower than the window.
    """
    if min(actual.shape[:2]) < 11:
        raise ValueError(f"SSIM needs 11x11 pixels, got {actual.shape[0]}x{actual.shape[1]}")
    x, y = actual.astype(np.float64), expected.astype(np.float64)
    mean_x, mean_y = _blur(x), _blur(y)
    var_x = _blur(x * x) - mean_x**2
    var_y = _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    score = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    score /= (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    return float(score.mean())


def bands(actual: Array, expected: Array) -> list[Band]:
    """Return the error by radial frequency band; a band without a single frequency is left out.

    A deblurring network earns its keep in the high bands, where a photo has little energy: an error there is
    lost in a PSNR over all.
    """
    difference = _power(actual.astype(np.float64) - expected)
    reference = _power(expected.astype(np.float64))
    height, width = expected.shape[:2]
    radius = 2 * np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
    result = []
    for low, high in itertools.pairwise(BAND_EDGES):
        ring = (radius >= low) & ((radius < high) | (high == BAND_EDGES[-1]))
        if not ring.any():
            continue
        error, signal = float(difference[ring].sum()), float(reference[ring].sum())
        ratio = error / max(signal, 1e-300)
        decibels = -PSNR_LIMIT_DB if error == 0 else 10 * math.log10(ratio)
        result.append(Band(low, high, max(-PSNR_LIMIT_DB, min(PSNR_LIMIT_DB, decibels))))
    return result


def _power(picture: Array) -> Array:
    spectrum = np.fft.fft2(picture, axes=(0, 1))
    power: Array = (spectrum.real**2 + spectrum.imag**2).sum(axis=2)
    return power


def _blur(picture: Array) -> Array:
    """Weight 11x11 neighbourhoods; the result is 10 pixels smaller along both axes."""
    offsets = np.arange(-5, 6)
    weights = np.exp(-(offsets**2) / (2 * 1.5**2))
    weights /= weights.sum()
    height, width = picture.shape[:2]
    down = sum(w * picture[i : height - 10 + i] for i, w in enumerate(weights))
    across: Array = sum(w * down[:, i : width - 10 + i] for i, w in enumerate(weights))
    return across
