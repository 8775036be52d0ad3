"""Two classical deconvolutions to compare with: one disk for the whole picture, the best of several.

For each picture the radius (and Wiener's balance, or the number of Richardson-Lucy iterations) that comes
closest to the *sharp* picture (in its middle, 512 pixels wide) is taken: an advantage no method has in the
field, so a network that beats them beats any way of estimating one disk. The algorithms are scikit-image's
(``restoration.wiener``, after Orieux et al. 2010, and ``restoration.richardson_lucy``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..runtime.photo import Array
from ..runtime.pixels import middle_of
from .training.apertures import Aperture, psf

RADII = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0)
BALANCES = (0.01, 0.1, 1.0)
ITERATIONS = (3, 10)
CHOOSING = 512
"""Side of the middle part that the choice is made on, in pixels."""


def wiener(blurred: Array, sharp: Array) -> tuple[Array, dict[str, Any]]:
    """Return the Wiener deconvolution of ``blurred`` that comes closest to ``sharp``, and its parameters.

    Args:
        blurred: float [H, W, 3] in [0, 1].
        sharp: the same scene in focus.
    """
    from skimage.restoration import wiener as deconvolve

    def attempt(channel: Array, kernel: Array, balance: float) -> Array:
        result: Array = deconvolve(channel, kernel, balance, clip=True)
        return result

    return _best(blurred, sharp, attempt, "balance", BALANCES)


def richardson_lucy(blurred: Array, sharp: Array) -> tuple[Array, dict[str, Any]]:
    """Return the Richardson-Lucy deconvolution that comes closest to ``sharp``; see :func:`wiener`."""
    from skimage.restoration import richardson_lucy as deconvolve

    def attempt(channel: Array, kernel: Array, iterations: float) -> Array:
        result: Array = deconvolve(channel, kernel, num_iter=int(iterations), clip=True, filter_epsilon=1e-6)
        return result

    return _best(blurred, sharp, attempt, "iterations", ITERATIONS)


def _best(
    blurred: Array,
    sharp: Array,
    attempt: Callable[[Array, Array, float], Array],
    name: str,
    values: tuple[float, ...],
) -> tuple[Array, dict[str, Any]]:
    rows, columns = (middle_of(side, CHOOSING) for side in blurred.shape[:2])
    part, wanted = blurred[rows, columns], sharp[rows, columns]
    choices = [(radius, value) for radius in RADII for value in values]
    errors = [
        float(np.mean((_restored(part, radius, value, attempt) - wanted) ** 2)) for radius, value in choices
    ]
    radius, value = choices[int(np.argmin(errors))]
    return _restored(blurred, radius, value, attempt), {"radius": radius, name: value}


def _restored(
    blurred: Array, radius: float, value: float, attempt: Callable[[Array, Array, float], Array]
) -> Array:
    kernel = psf(radius, Aperture()).numpy().astype(np.float32)
    # Deconvolution wraps around or darkens at the borders: they lie in a margin that is cut off.
    reach = 2 * kernel.shape[0]
    padded = np.pad(blurred.astype(np.float32), ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
    planes = [attempt(padded[..., c], kernel, value) for c in range(blurred.shape[2])]
    height, width = blurred.shape[:2]
    restored: Array = np.clip(np.stack(planes, axis=-1)[reach : reach + height, reach : reach + width], 0, 1)
    return restored
