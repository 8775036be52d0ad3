"""Write PNG (W3C PNG, third edition): with 16 bits, which Pillow can do for grey only, and without Pillow."""

from __future__ import annotations

import struct
import zlib
from typing import IO, Any

import numpy as np

_COLOR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}
_BAND_BYTES = 1 << 22


def write_png(
    stream: IO[bytes],
    samples: np.ndarray[Any, Any],
    *,
    icc: bytes | None = None,
    exif: bytes | None = None,
    dpi: tuple[float, float] | None = None,
) -> None:
    """Write ``uint8`` or ``uint16`` samples, height x width x (grey, grey+alpha, RGB or RGBA).

    ``exif`` is a TIFF structure without the ``Exif\\0\\0`` in front.
    """
    height, width, channels = samples.shape
    item = samples.dtype.itemsize
    stream.write(b"\x89PNG\r\n\x1a\n")
    _chunk(stream, b"IHDR", struct.pack(">IIBBBBB", width, height, 8 * item, _COLOR_TYPE[channels], 0, 0, 0))
    if icc:
        _chunk(stream, b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc))
    if dpi:
        per_metre = [round(value / 0.0254) for value in dpi]
        _chunk(stream, b"pHYs", struct.pack(">IIB", *per_metre, 1))
    if exif:
        _chunk(stream, b"eXIf", exif)
    packer = zlib.compressobj(6)
    row_bytes = item * channels * width
    rows = max(1, _BAND_BYTES // row_bytes)
    above = np.zeros((1, row_bytes), np.uint8)
    for y in range(0, height, rows):
        band = (
            np.ascontiguousarray(samples[y : y + rows])
            .astype(f">u{item}")
            .view(np.uint8)
            .reshape(-1, row_bytes)
        )
        packed = packer.compress(_paeth(band, above, item * channels).tobytes())
        above = band[-1:]
        if packed:
            _chunk(stream, b"IDAT", packed)
    _chunk(stream, b"IDAT", packer.flush())
    _chunk(stream, b"IEND", b"")


def _paeth(band: np.ndarray[Any, Any], above: np.ndarray[Any, Any], step: int) -> np.ndarray[Any, Any]:
    """Return rows of bytes with filter type 4 (Paeth), each led by its type byte."""
    rows, length = band.shape
    padded = np.zeros((rows + 1, length + step), np.int16)
    padded[0, step:] = above
    padded[1:, step:] = band
    left, up, corner = padded[1:, :-step], padded[:-1, step:], padded[:-1, :-step]
    to_left, to_up = np.abs(up - corner), np.abs(left - corner)
    to_corner = np.abs(left + up - 2 * corner)
    guess = np.where(to_up <= to_corner, up, corner)
    guess = np.where((to_left <= to_up) & (to_left <= to_corner), left, guess)
    filtered = np.full((rows, length + 1), 4, np.uint8)
    filtered[:, 1:] = band - guess.astype(np.uint8)
    return filtered


def _chunk(stream: IO[bytes], kind: bytes, data: bytes) -> None:
    stream.write(struct.pack(">I", len(data)) + kind)
    stream.write(data)
    stream.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))))
