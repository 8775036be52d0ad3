"""The variants of FDIKP: each is one row of numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..runtime.errors import UnknownNameError
from .sizes import SizeRequirements

#: How a block looks at the spectrum: whole map, 8x8 windows, or not at all.
FourierMode = Literal["global", "window", "none"]


@dataclass(frozen=True)
class Variant:
    """Everything that tells one FDIKP from another.

    ``channels`` is C, the width at full resolution (2C and 4C on the levels below). ``kernels`` inverse kernels
    of ``kernel_size`` x ``kernel_size`` taps are predicted per image and applied at each of ``dilations``.
    ``blocks`` and ``fourier`` hold one entry per level, full resolution first.
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
# H to be a multiple of 128, and one whole 16x16 Welch window needs H >= 256. Base has windows only on the first
# level (H/4 a multiple of 8), so 32 is enough, and its whole-map transforms take the 2x2 map that is left.
_WINDOWED = SizeRequirements(minimum=256, multiple_of=128)
_GLOBAL = SizeRequirements(minimum=32, multiple_of=32)

VARIANTS: dict[str, Variant] = {
    v.name: v
    for v in (
        Variant("tiny", 24, 4, 5, (1, 2), (1, 1, 2), 32, ("none", "none", "window"), True, "assemble", "welch",
                _WINDOWED),
        Variant("small", 28, 6, 7, (1, 2), (1, 1, 2), 48, ("none", "window", "window"), False, "assemble", "welch",
                _WINDOWED),
        Variant("base", 48, 8, 7, (1, 2), (2, 2, 2), 64, ("window", "global", "global"), False, "modulate", "global",
                _GLOBAL),
    )
}  # fmt: skip


def get_variant(name: str) -> Variant:
    """Return the variant called ``name``; :class:`UnknownNameError` lists those that exist."""
    try:
        return VARIANTS[name]
    except KeyError:
        raise UnknownNameError(f"no variant is called {name!r}; there are: {', '.join(VARIANTS)}") from None
