"""A photo in memory: its samples as stored, and what must travel with them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]
else:
    Array = np.ndarray  # Ubuntu 22.04, and so JetPack 6, has a NumPy (1.21) whose arrays take no types

MIN_SIDE = 2
"""A picture narrower than this is no photo; a single pixel is almost always a placeholder."""

DEFAULT_MAX_PIXELS = 200_000_000
"""Largest photo read by default, in pixels: above today's cameras, below what fills a device's memory."""

FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
"""Suffix in lower case -> format written for it. Files are read by their content, whatever the suffix."""

READ_ONLY = {".bmp": ".png", ".gif": ".png"}
"""Suffix in lower case of what is read and not written -> suffix of its result, which loses nothing."""


@dataclasses.dataclass(frozen=True, eq=False)
class Photo:
    """One photo, upright.

    Attributes:
        pixels: ``uint8`` or ``uint16``, height x width x 3, RGB in the file's own colour space. A grey photo
            has three equal channels. It may be a read-only view.
        alpha: same dtype, height x width, or ``None``. Carried through, never changed.
        grey: stored, and to be stored again, as one channel.
        icc: colour profile, as stored.
        exif: EXIF block, beginning ``Exif\\0\\0``, with the orientation set to upright and no thumbnail.
        dpi: resolution in dots per inch, horizontal and vertical.
        source_format: ``JPEG``, ``PNG``, ``TIFF``, ``WEBP``, ``BMP`` or ``GIF``; ``""`` for a photo
            that was not read.
        source_mode: how the file stored its pixels, in Pillow's words (``RGB``, ``P``, ``RGB;16B``).
        source: the file, where there was one.
        notes: what could not be carried over from the file.
    """

    pixels: Array
    alpha: Array | None = None
    grey: bool = False
    icc: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    source_format: str = ""
    source_mode: str = ""
    source: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.pixels.shape[1])

    @property
    def bits(self) -> int:
        """Bits of each sample, 8 or 16."""
        return 8 * int(self.pixels.dtype.itemsize)

    @property
    def white(self) -> int:
        """The largest sample value, 255 or 65535."""
        return (1 << self.bits) - 1

    def with_pixels(self, pixels: Array) -> Photo:
        """Return the same photo with other samples of the same shape and dtype."""
        if pixels.shape != self.pixels.shape or pixels.dtype != self.pixels.dtype:
            raise ValueError(
                f"expected {self.pixels.dtype}{self.pixels.shape}, got {pixels.dtype}{pixels.shape}"
            )
        return dataclasses.replace(self, pixels=pixels)

    def samples(self) -> Array:
        """Return what a file stores: height x width x (1 for grey, 3 for RGB, plus 1 with alpha)."""
        color = self.pixels[..., :1] if self.grey else self.pixels
        if self.alpha is None:
            return color
        return np.concatenate([color, self.alpha[..., None]], axis=2)

    def to_8bit(self) -> Photo:
        """Return the photo with 8 bits a sample, rounded to nearest; itself if it has 8 already."""
        if self.bits == 8:
            return self
        alpha = None if self.alpha is None else _narrow(self.alpha)
        return dataclasses.replace(self, pixels=_narrow(self.pixels), alpha=alpha)


def _narrow(samples: Array) -> Array:
    result = np.empty(samples.shape, np.uint8)
    for y in range(0, samples.shape[0], 256):  # in bands: the sum needs 32 bits
        result[y : y + 256] = (samples[y : y + 256].astype(np.uint32) + 128) // 257
    return result
