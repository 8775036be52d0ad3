"""Sizes worth building for photos of a given size: those whose tiles waste little in overlaps."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from ..errors import SizeError
from ..tiles.tiling import Axis
from .buckets import AUTO_HALO
from .folders import size_name

STEP = 32
"""Sides are multiples of this many pixels."""
LARGEST_SIDE = 2048
CLASSES = ((192**2, 352**2), (352**2, 576**2), (576**2, 800**2))
"""From so many pixels of a tile to less than so many; the least waste of each is suggested. How long
a network takes for a pixel depends on the size, so it takes a measurement to choose between them."""
WORTH = 0.95
"""A tile that is no square covers at most this share of the pixels that the best square one covers: squares
do as well for photos held upright."""


def suggest_sizes(
    height: int, width: int, fits: Callable[[int, int], bool] = lambda height, width: True
) -> list[tuple[int, int]]:
    """Return up to three sizes of tiles to build for photos of ``height`` x ``width`` pixels.

    They are meant for ``run --tile auto``, which measures them. The largest holds less than 800 x 800 pixels,
    which bounds the memory of a session. Sides differ by a factor of two at most.

    Args:
        height: of the photos, in pixels.
        width: of the photos, in pixels.
        fits: whether a network takes a height and width.

    Raises:
        SizeError: the network takes none of the sizes.
    """
    sides = range(STEP, LARGEST_SIDE + 1, STEP)
    down, across = ({side: _covered(length, side) / length for side in sides} for length in (height, width))
    chosen: list[tuple[float, tuple[int, int]]] = []
    for least, most in CLASSES:
        here = [
            (down[h] * across[w], (h, w))
            for h, w in itertools.product(sides, sides)
            if least <= h * w < most and h <= 2 * w and w <= 2 * h and fits(h, w)
        ]
        square = min((one for one in here if one[1][0] == one[1][1]), default=None)
        best = min(here, default=None)
        if best is None:
            continue
        if square is not None and best[0] > WORTH * square[0]:
            best = square
        if not chosen or best < min(chosen):
            chosen.append(best)
    if not chosen:
        raise SizeError(f"the network takes no size of tiles for photos of {size_name((height, width))}")
    return [size for _, size in chosen]


def _covered(length: int, tile: int) -> float:
    """Return the pixels of all tiles along one side of a photo; infinite if the halo leaves nothing."""
    halo = min(AUTO_HALO, tile // 8)
    return len(Axis.plan(length, tile, halo, halo, min(STEP, tile // 8)).starts) * tile
