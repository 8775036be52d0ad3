"""What each precision may cost, in one place: used by verify, the gates, the report and the tests alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ...runtime.errors import UnknownNameError

Measure = Literal["image", "tensor"]


@dataclass(frozen=True)
class Budget:
    """The most an artifact may differ from PyTorch eager in float32.

    Of pictures, with white at 1, ``max_abs`` bounds the largest difference of any sample and ``min_psnr_db``
    the mean square over the picture. Of any other tensor, ``max_abs`` bounds the largest difference over the
    largest magnitude of the reference, and ``min_psnr_db`` its signal-to-noise ratio.
    """

    max_abs: float
    min_psnr_db: float
    measure: Measure = "image"

    def problems(self, max_abs: float, psnr_db: float) -> list[str]:
        """Say what is over the budget; nothing if all is within."""
        problems = []
        if not max_abs <= self.max_abs:
            problems.append(f"largest difference {max_abs:.2e} is over {self.max_abs:.2e}")
        if not psnr_db >= self.min_psnr_db:
            name = "PSNR" if self.measure == "image" else "SNR"
            problems.append(f"{name} {psnr_db:.1f} dB is under {self.min_psnr_db:.0f} dB")
        return problems

    def spent(self, max_abs: float, psnr_db: float) -> float:
        """Return how many times the budget a difference is, by the worse of both bounds; above 1: missed."""
        return max(max_abs / self.max_abs, 10 ** ((self.min_psnr_db - psnr_db) / 20))

    def to_dict(self) -> dict[str, float | str]:
        """Return plain values."""
        return dataclasses.asdict(self)


BUDGETS: Mapping[str, Budget] = {
    # Rounding in another order of additions. Two runs of eager with other thread counts differ by about 1e-6.
    "fp32": Budget(max_abs=2e-5, min_psnr_db=100.0),
    # Invisible: 60 dB is an eighth of the rounding of an 8-bit file, and the peak is a few of its steps.
    "fp16": Budget(max_abs=2e-2, min_psnr_db=60.0),
    # Rounding the result alone to 8 bits of mantissa is at 59 dB; a file of 8 bits, too.
    "bf16": Budget(max_abs=5e-2, min_psnr_db=45.0),
    # At the edge of what a flicker test between the two pictures shows.
    "int8": Budget(max_abs=2e-1, min_psnr_db=40.0),
}

TENSOR_BUDGETS: Mapping[str, Budget] = {
    # Relative to the largest magnitude: a field, a waveform or a spectrum has no white.
    "fp32": Budget(max_abs=2e-5, min_psnr_db=90.0, measure="tensor"),
    "fp16": Budget(max_abs=2e-2, min_psnr_db=50.0, measure="tensor"),
    "bf16": Budget(max_abs=5e-2, min_psnr_db=35.0, measure="tensor"),
    "int8": Budget(max_abs=2e-1, min_psnr_db=25.0, measure="tensor"),
}
"""The same for what is no picture. A signal has less power than its peak, so the ratios are lower."""

STEP = 1 / 255
"""One step of an 8-bit sample."""

BYTE_PSNR_DB = 70.0
"""Tolerance of ``uint8`` results: where the network's value lies near the middle between two bytes,
a difference of 1e-6 turns one into the other, so 1 in 150 samples may be one step off."""


def budget_for(precision: str, dtype: str = "float32", measure: Measure = "image") -> Budget:
    """Return the budget of ``precision`` for results of ``dtype``; bytes of pictures are ``uint8``.

    Raises:
        UnknownNameError: a precision without a budget; lists those that have one.
    """
    if precision not in BUDGETS:
        raise UnknownNameError(f"no budget for precision {precision!r}; there are: {', '.join(BUDGETS)}")
    if measure == "tensor":
        return TENSOR_BUDGETS[precision]
    budget = BUDGETS[precision]
    if dtype == "uint8":
        # Compared as bytes: whole steps, with a margin for 1/255 not being a binary fraction.
        return Budget(budget.max_abs + STEP, min(budget.min_psnr_db, BYTE_PSNR_DB))
    return budget
