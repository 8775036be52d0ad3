"""Photos on which mixed precision is evaluated: blurred ones, and the sharp photo of each.

Real pairs are best. Without them, the calibration photos are the sharp ones, and are defocused by a disk in
linear light.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..runtime.errors import CalibrationError
from ..runtime.images import read_photo
from ..runtime.photo import Array
from ..runtime.pixels import middle, planes
from ..runtime.samples.pairs import find_pairs
from .defocus import out_of_focus
from .samples import Samples

COUNT = 8
"""Photos on which each selection of layers is evaluated; single layers are ranked on the first few."""
RADIUS = 3.0
"""Of the disk, in pixels; in the middle of what real pairs of a few megapixels show."""


@dataclass(frozen=True, eq=False)
class EvaluationPairs:
    """``blurred`` and ``sharp`` as a program takes and returns them; ``words`` says what they are."""

    blurred: Sequence[Array]
    sharp: Sequence[Array]
    words: str


def of_samples(samples: Samples, *, dtype: str = "float32", count: int = COUNT) -> EvaluationPairs:
    """Return calibration tiles and the same out of focus.

    Args:
        samples: tiles of the program's size, in focus.
        dtype: ``float32`` for [1, 3, H, W] in [0, 1], ``uint8`` for [1, H, W, 3].
        count: how many of the tiles.
    """
    sharp = [tile.pixels for tile in samples.tiles[:count]]
    blurred = [out_of_focus(pixels, RADIUS) for pixels in sharp]
    return _as_inputs(
        blurred, sharp, dtype, f"{len(sharp)} calibration tiles, defocused by {RADIUS:g} pixels"
    )


def of_pairs(
    folder: str | Path, size: tuple[int, int], *, dtype: str = "float32", count: int = COUNT
) -> EvaluationPairs:
    """Return the middles of pairs of photos, spread evenly over those in ``folder``.

    Args:
        folder: holds ``blur`` and ``sharp`` with files of equal names, or contains such folders.
        size: height and width of the program.
        dtype: as :func:`of_samples`.
        count: how many pairs at most.

    Raises:
        BadInputError: no pairs found.
        CalibrationError: a photo smaller than ``size``, or one of another size than its partner.
        ImageError: a photo that cannot be read.
    """
    pairs = find_pairs(Path(folder))
    places = np.linspace(0, len(pairs) - 1, min(count, len(pairs))).round().astype(int)
    blurred, sharp = [], []
    for pair in (pairs[place] for place in places):
        soft, right = (read_photo(path).to_8bit().pixels for path in (pair.blurred, pair.sharp))
        if soft.shape != right.shape:
            raise CalibrationError(
                f"{pair.blurred}: {soft.shape[0]}x{soft.shape[1]} pixels, its partner "
                f"{right.shape[0]}x{right.shape[1]}"
            )
        blurred.append(_middle(soft, size, pair.blurred))
        sharp.append(_middle(right, size, pair.sharp))
    return _as_inputs(blurred, sharp, dtype, f"{len(sharp)} pairs of {Path(folder).name}")


def _middle(pixels: Array, size: tuple[int, int], path: Path) -> Array:
    height, width = pixels.shape[:2]
    if height < size[0] or width < size[1]:
        raise CalibrationError(f"{path}: {height}x{width} pixels, smaller than a tile of {size[0]}x{size[1]}")
    return np.ascontiguousarray(middle(pixels, size))


def _as_inputs(blurred: Sequence[Array], sharp: Sequence[Array], dtype: str, words: str) -> EvaluationPairs:
    def as_input(pixels: Array) -> Array:
        return np.ascontiguousarray(pixels[None]) if dtype == "uint8" else planes(pixels)

    return EvaluationPairs([as_input(p) for p in blurred], [as_input(p) for p in sharp], words)
