"""How far two tensors are apart that are no pictures: relative to the reference, since they have no white."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...runtime.errors import BadInputError, CheckFailedError
from ...runtime.photo import Array
from ...runtime.pixels import PSNR_LIMIT_DB
from ...runtime.tensors import TensorContract
from .difference import Difference


@dataclass(frozen=True)
class Distance:
    """How far a result is from its reference.

    ``max_rel`` and ``mean_rel`` are the largest and the mean difference over the largest magnitude of the
    reference; ``snr_db`` is the reference's power over that of the difference, in decibels, from -200 to 200;
    ``worst_index`` is the place of the largest difference.
    """

    max_rel: float
    mean_rel: float
    snr_db: float
    worst_index: tuple[int, ...]


def distance(actual: Array, expected: Array) -> Distance:
    """Measure the difference of two arrays of one shape.

    Where the reference is all zeros there is nothing to be relative to, and the scale is 1.
    """
    truth = expected.astype(np.float64)
    error = actual.astype(np.float64) - truth
    size = np.abs(error)
    peak = float(np.abs(truth).max(initial=0.0)) or 1.0
    worst = tuple(int(i) for i in np.unravel_index(int(size.argmax()), size.shape))
    noise, signal = float((error**2).mean()), float((truth**2).mean()) or 1.0
    decibels = PSNR_LIMIT_DB if noise == 0 else 10 * math.log10(signal / noise)
    snr_db = max(-PSNR_LIMIT_DB, min(PSNR_LIMIT_DB, decibels))
    return Distance(float(size.max()) / peak, float(size.mean()) / peak, snr_db, worst)


def compare(actual: Array, expected: Array, contract: TensorContract, sample: str) -> Difference:
    """Return the difference of a result from its reference.

    Raises:
        CheckFailedError: the result holds NaN or infinity.
        BadInputError: it has another shape than the contract's.
    """
    if actual.shape != contract.shape:
        raise BadInputError(f"{contract.name}: expected {list(contract.shape)}, got {list(actual.shape)}")
    if not np.isfinite(actual).all():
        count = int(actual.size - np.isfinite(actual).sum())
        raise CheckFailedError(f"{count} of {actual.size} results for {sample} are NaN or infinite")
    far = distance(actual, expected)
    return Difference(
        photo=sample,
        max_abs=far.max_rel,
        mean_abs=far.mean_rel,
        psnr_db=far.snr_db,
        ssim=1.0,
        bands=(),
        output=contract.name,
        measure="tensor",
        worst_index=far.worst_index,
    )
