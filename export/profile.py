"""What a runtime gains from what: costs for the planner, and which layers its int8 files quantise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..calibration.layer_kinds import CONV2D, PRODUCT

if TYPE_CHECKING:
    from .spectral.strategies.base import Cost


@dataclass(frozen=True)
class Profile:
    """Rates of a runtime, in units per microsecond, and the fixed cost of one operator in microseconds.

    ``name`` is what plans, passports and calibration tables call it. ``channels_last`` says that its
    convolutions keep channels as the fastest index, ``runtime_kernels`` that they take kernels which the
    network makes, ``block_products`` that such kernels for single channels are faster as products of blocks,
    ``planar_mixing`` that a product mixes maps beside a transform faster than a 1x1
    convolution does (see :mod:`.spectral.fuse`), ``automatic`` which strategies the planner may pick by
    itself, ``int8_kinds`` which kinds of layers (:mod:`..calibration.layer_kinds`) gain from 8 bits and
    ``int8_stored`` of which others the weights alone are stored in 8 bits, ``int8_first`` and ``int8_last``
    that 8 bits gain more for the layers that read and make the picture than their rounding costs it
    (:func:`.roles.ends`). ``rounds_results`` says that convolutions in int8 files return 8 bits, with a
    256th value below the others; otherwise only what layers read is rounded.

    Targets of one profile share one lowered program and one section of a calibration table.
    """

    name: str
    macs_per_us: float
    moved_per_us: float
    operator_us: float
    channels_last: bool = False
    runtime_kernels: bool = True
    block_products: bool = False
    planar_mixing: bool = False
    automatic: tuple[str, ...] = ("flat", "separable", "joined", "factored", "window")
    int8_kinds: tuple[str, ...] = (CONV2D, PRODUCT)
    int8_stored: tuple[str, ...] = ()
    int8_first: bool = True
    int8_last: bool = True
    rounds_results: bool = False

    def microseconds(self, cost: Cost) -> float:
        """Predicted time of ``cost``."""
        return (
            cost.macs / self.macs_per_us + cost.moved / self.moved_per_us + cost.operators * self.operator_us
        )


DEFAULT = Profile("default", macs_per_us=55_000, moved_per_us=2_500, operator_us=15)
"""Where no target is named. Fitted on two AVX2 cores, as those of the targets for processors are; only the
ratios matter for a choice."""
