"""The variants of FDIKP: each is one row of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...runtime.errors import UnknownNameError
from ..sources.sizes import SizeRequirements

#: How a block looks at the spectrum: whole map, 8x8 windows, or not at all.
FourierMode = Literal["global", "window", "none"]


@dataclass(frozen=True)
class Variant:
    """Everything that tells one FDIKP from another.

    ``channels`` is C, the width at full resolution (2C and 4C on the levels below). ``kernels`` inverse
    kernels of ``kernel_size`` x ``kernel_size`` taps are predicted per image and applied at each of
    ``dilations``. ``blocks`` and ``fourier`` hold one entry per level, full resolution first.
    """

    name: str
    channels: int
    kernels: int
    kernel_size: int
    dilations: tuple[int, ...]
    blocks: tuple[int, int, int]
    descriptor: int
    """Width of the image descriptors inside DIKP."""
    fourier: tuple[FourierMode, FourierMode, FourierMode]
    separable: bool
    """Depthwise-separable 3x3 convolutions in the body (stem, DIKP, PAC and the last one stay dense)."""
    pac: Literal["assemble", "modulate"]
    frequency: Literal["welch", "global"]
    """Spectrum seen by DIKP: averaged over 16x16 windows, or of the whole map."""
    size: SizeRequirements


# Sizes. The coarsest of the three scales sees H/4, and its third level H/16. Windows of 8 on that level need
# H to be a multiple of 128, and one whole 16x16 Welch window needs H >= 256. Base has windows only on the
# first level (H/4 a multiple of 8), so 32 is enough; its whole-map transforms take the 2x2 map that is left.
_WINDOWED = SizeRequirements(minimum=256, multiple_of=128)
_WHOLE_MAP = SizeRequirements(minimum=32, multiple_of=32)

TINY = Variant(
    name="tiny",
    channels=24,
    kernels=4,
    kernel_size=5,
    dilations=(1, 2),
    blocks=(1, 1, 2),
    descriptor=32,
    fourier=("none", "none", "window"),
    separable=True,
    pac="assemble",
    frequency="welch",
    size=_WINDOWED,
)
SMALL = Variant(
    name="small",
    channels=28,
    kernels=6,
    kernel_size=7,
    dilations=(1, 2),
    blocks=(1, 1, 2),
    descriptor=48,
    fourier=("none", "window", "window"),
    separable=False,
    pac="assemble",
    frequency="welch",
    size=_WINDOWED,
)
BASE = Variant(
    name="base",
    channels=48,
    kernels=8,
    kernel_size=7,
    dilations=(1, 2),
    blocks=(2, 2, 2),
    descriptor=64,
    fourier=("window", "global", "global"),
    separable=False,
    pac="modulate",
    frequency="global",
    size=_WHOLE_MAP,
)

VARIANTS: dict[str, Variant] = {v.name: v for v in (TINY, SMALL, BASE)}


def get_variant(name: str) -> Variant:
    """Return the variant called ``name``; :class:`UnknownNameError` lists those that exist."""
    try:
        return VARIANTS[name]
    except KeyError:
        raise UnknownNameError(f"no variant is called {name!r}; there are: {', '.join(VARIANTS)}") from None
