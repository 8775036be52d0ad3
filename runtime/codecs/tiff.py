"""Write TIFF with 8 or 16 bits a sample, compressed without loss (TIFF 6.0, Deflate with a predictor)."""

from __future__ import annotations

import zlib
from typing import IO, Any

import numpy as np

_STRIP_BYTES = 1 << 18


def write_tiff(
    stream: IO[bytes],
    samples: np.ndarray[Any, Any],
    *,
    icc: bytes | None = None,
    tags: dict[int, Any] | None = None,
    dpi: tuple[float, float] | None = None,
) -> None:
    """Write ``uint8`` or ``uint16`` samples, height x width x (grey, grey+alpha, RGB or RGBA).

    ``stream`` is empty. ``tags`` are further tags for the directory, numbered as in EXIF; a nested mapping is
    a directory of its own.
    """
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    height, width, channels = samples.shape
    rows = max(1, _STRIP_BYTES // (width * channels * samples.dtype.itemsize))
    strips = [_strip(samples[y : y + rows]) for y in range(0, height, rows)]
    offsets = np.cumsum([0, *map(len, strips)])
    directory = ImageFileDirectory_v2(prefix=b"II")
    fields: dict[int, Any] = {
        **(tags or {}),
        256: width,
        257: height,
        258: (8 * samples.dtype.itemsize,) * channels,
        259: 8,  # Deflate
        262: 2 if channels >= 3 else 1,  # RGB, or grey with black as zero
        273: tuple(int(offset) for offset in offsets[:-1]),  # from the end of the directory
        274: 1,
        277: channels,
        278: rows,
        279: tuple(len(strip) for strip in strips),
        284: 1,  # interleaved
        317: 2,  # horizontal differences
    }
    if channels in (2, 4):
        fields[338] = 2  # alpha, not multiplied into the colours
    if dpi:
        fields.update({282: dpi[0], 283: dpi[1], 296: 2})
    if icc:
        fields[34675] = icc
    for tag, value in fields.items():
        directory[tag] = value
    directory.save(stream)
    for strip in strips:
        stream.write(strip)


def _strip(samples: np.ndarray[Any, Any]) -> bytes:
    rows = np.ascontiguousarray(samples).astype(samples.dtype.newbyteorder("<"))
    differences = rows.copy()
    differences[:, 1:] -= rows[:, :-1]
    return zlib.compress(differences.tobytes(), 6)
