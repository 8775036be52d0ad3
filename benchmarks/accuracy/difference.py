"""How one result of an artifact differs from its reference."""

from __future__ import annotations

from dataclasses import dataclass

from .budgets import Measure
from .metrics import Band


@dataclass(frozen=True)
class Difference:
    """How one result differs from its reference.

    Of a picture with white at 1. Of any other tensor relative to the largest magnitude of the reference:
    ``psnr_db`` is then the signal-to-noise ratio, ``ssim`` is 1, there are no bands, and ``worst_index``
    says which element differs most.
    """

    photo: str
    max_abs: float
    mean_abs: float
    psnr_db: float
    ssim: float
    bands: tuple[Band, ...]
    output: str = ""
    measure: Measure = "image"
    worst_index: tuple[int, ...] | None = None

    @property
    def badness(self) -> tuple[float, float]:
        """Orders samples by how bad they came out: the lowest PSNR is worst, then the largest difference."""
        return -self.psnr_db, self.max_abs
