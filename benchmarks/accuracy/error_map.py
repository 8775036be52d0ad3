"""Where in a picture an artifact differs from the reference: a picture of the error, and how to read it.

One colour scale for every artifact and run, so that two maps can be compared at a glance: logarithmic, eight
steps a decade, from about 2e-8 to 1 with white at 1. It turns from cold to warm at half a step of an 8-bit
file: what is cold there cannot move a byte by more than its rounding, what is warm can.

The map of a run is a PNG whose sample is the step on the scale, and whose palette is the scale.
"""

from __future__ import annotations

import io
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...runtime.errors import ImageError
from ...runtime.images import write_photo
from ...runtime.outside.files import read_bounded
from ...runtime.photo import Array, Photo
from .budgets import STEP

if TYPE_CHECKING:
    from PIL.Image import Image

    from .difference import Difference

HALF_STEP = STEP / 2
"""The error from which rounding to 8 bits may land on another byte, and where the scale turns warm."""

STEPS_PER_DECADE = 8
COLD, WARM = 40, 22
"""Steps of the scale below and above :data:`HALF_STEP`; step 0 is whatever lies below them."""

LOWEST = HALF_STEP * 10 ** (-COLD / STEPS_PER_DECADE)
HIGHEST = HALF_STEP * 10 ** (WARM / STEPS_PER_DECADE)
"""The ends of the scale: about 2e-8, a third of the rounding of float32 below 1, and 1.1."""

MAX_SIDE = 320
"""Longest side of a map in pixels. A larger picture is shrunk by the largest error of each block, so that no
peak is lost."""

_MAX_BYTES = 1024 * 1024
_BELOW = (11, 16, 28)
_COLD_COLOURS = ((18, 30, 62), (32, 78, 132), (86, 150, 196), (190, 220, 236))
_WARM_COLOURS = ((255, 221, 118), (248, 150, 48), (222, 64, 36), (122, 8, 40))


def palette() -> list[tuple[int, int, int]]:
    """Return the colour of each step of the scale, the one below it first."""
    return [_BELOW, *_blend(_COLD_COLOURS, COLD), *_blend(_WARM_COLOURS, WARM)]


def place(error: float) -> float:
    """Return where on the scale an error lies: 0 at its lower end, 1 at its upper."""
    part = math.log(max(error, LOWEST) / LOWEST) / math.log(HIGHEST / LOWEST)
    return min(1.0, part)


def steps(error: Array) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return the step on the scale of each error (not negative), as uint8 of the same shape."""
    with np.errstate(divide="ignore"):
        level = np.floor(STEPS_PER_DECADE * np.log10(error / LOWEST))
    numbers: np.ndarray[Any, np.dtype[np.uint8]] = (np.clip(level, -1, COLD + WARM - 1) + 1).astype(np.uint8)
    return numbers


@dataclass(frozen=True)
class Seen:
    """One photo as the artifact and the reference made it: height x width x 3, float64, white at 1."""

    difference: Difference
    output: Array
    expected: Array

    def error(self) -> Array:
        """Return the largest absolute difference of the three samples of each pixel."""
        largest: Array = np.abs(self.output - self.expected).max(axis=2)
        return largest

    def to_dict(self) -> dict[str, Any]:
        """Return the figures that go with the map, as plain JSON values.

        ``photo``, ``size`` (height, width, of the picture compared), ``max``, ``p50`` and ``p99`` of the
        pixels' errors, and ``over_half_step``: the share of pixels with an error over :data:`HALF_STEP`.
        """
        error = self.error()
        return {
            "photo": self.difference.photo,
            "size": list(error.shape),
            "max": float(error.max()),
            "p50": float(np.quantile(error, 0.5)),
            "p99": float(np.quantile(error, 0.99)),
            "over_half_step": float((error > HALF_STEP).mean()),
        }


class Worst:
    """Given to :func:`fdikp_edge.benchmarks.accuracy.parity.verify`, keeps the photo that came out worst."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self.seen: Seen | None = None

    def __call__(self, difference: Difference, output: Array, expected: Array) -> None:
        """Look at one comparison; which of two is worse, parity says."""
        if self.seen is None or difference.badness > self.seen.difference.badness:
            self.seen = Seen(difference, output, expected)


def write_map(error: Array, path: Path) -> None:
    """Write the map of an error (height x width, not negative, white at 1) as a PNG."""
    picture(steps(_shrink(error))).save(path, "PNG", optimize=True)


def picture(drawn: np.ndarray[Any, np.dtype[np.uint8]]) -> Image:
    """Return steps of the scale (height x width) as a Pillow image whose palette is the scale."""
    from PIL import Image

    image = Image.fromarray(drawn)
    image.putpalette(_samples())
    return image


def save(seen: Seen, folder: Path, name: str) -> dict[str, Any]:
    """Write the error map and the reference image into ``folder``.

    Returns:
        :meth:`Seen.to_dict`, with ``map`` and ``reference``: the two files, relative to the folder above.

    Raises:
        OutputError: they cannot be written.
    """
    from ...runtime.files import output_error

    try:
        folder.mkdir(exist_ok=True)
        write_map(seen.error(), folder / f"{name}.png")
    except OSError as error:
        raise output_error(folder, error) from error
    pixels = np.rint(np.clip(seen.expected, 0, 1) * 255).astype(np.uint8)
    write_photo(folder / f"{name}-reference.png", Photo(pixels))
    return {
        **seen.to_dict(),
        "map": f"{folder.name}/{name}.png",
        "reference": f"{folder.name}/{name}-reference.png",
    }


def read_map(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return the steps of a map that :func:`write_map` wrote, as uint8 of height x width.

    Raises:
        ImageError: not such a file, or none of a size that it writes.
    """
    from PIL import Image

    try:
        data = io.BytesIO(read_bounded(path, _MAX_BYTES, ImageError))
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(data, formats=["PNG"]) as image:
                if image.mode != "P" or max(image.size) > MAX_SIDE:
                    raise ImageError(f"{path}: no error map: {image.mode} of {image.width}x{image.height}")
                if (image.getpalette() or [])[: len(_samples())] != _samples():
                    raise ImageError(f"{path}: no error map: its colours are not this scale's")
                pixels = np.asarray(image)
    except ImageError:
        raise
    except Exception as error:  # Pillow reports damage by many types
        raise ImageError(f"{path}: no error map: {error}") from error
    if int(pixels.max()) > COLD + WARM:
        raise ImageError(f"{path}: no error map: its samples are no steps of the scale")
    return pixels


def _shrink(error: Array) -> Array:
    """Return the largest error of each block of the smallest size that fits a map."""
    block = math.ceil(max(error.shape) / MAX_SIDE)
    height, width = (-(-side // block) * block for side in error.shape)
    padded = np.pad(error, ((0, height - error.shape[0]), (0, width - error.shape[1])))
    blocks: Array = padded.reshape(height // block, block, width // block, block).max(axis=(1, 3))
    return blocks


def _samples() -> list[int]:
    return [sample for colour in palette() for sample in colour]


def _blend(colours: tuple[tuple[int, int, int], ...], count: int) -> list[tuple[int, int, int]]:
    """Return ``count`` colours on the straight lines from each given colour to the next."""
    at = np.linspace(0, len(colours) - 1, count)
    columns = [np.rint(np.interp(at, range(len(colours)), column)) for column in zip(*colours, strict=True)]
    return [(int(r), int(g), int(b)) for r, g, b in zip(*columns, strict=True)]
