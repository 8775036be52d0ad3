"""Look at the header of a photo with bounded effort, before a decoder is given the whole file."""

from __future__ import annotations

import io
import math
from typing import IO, Any

BYTES_PER_PIXEL = 16
"""Most bytes that a file needs for a pixel: four samples of 16 bits, twice that for codecs that fail to
compress."""
FREE_BYTES = 64 * 1024**2
"""Bytes that any photo may have beside its pixels: profiles, previews, notes."""

_HEADER_BYTES = 64 * 1024**2
_HEADER_READS = 200_000
_TILE_PIXELS = 1024**2
"""Pixels of a tile that any TIFF may have; a decoder takes memory for whole tiles."""
_FORMATS = {2: "signed", 3: "floating-point", 5: "complex", 6: "complex"}
"""Sample formats of TIFF 6.0 that are not read, in words."""


class BoundedHeader(io.RawIOBase):
    """A view of a stream that ends the reading of a header which goes on for ever."""

    def __init__(self, stream: IO[bytes]) -> None:
        """Look at ``stream`` from its beginning; closing the view leaves it open."""
        self._stream = stream
        self._bytes = self._reads = 0
        stream.seek(0)

    def read(self, size: int = -1) -> bytes:
        """Return up to ``size`` bytes.

        Raises:
            ValueError: more has been read than any header has.
        """
        left = _HEADER_BYTES - self._bytes
        data = self._stream.read(left + 1 if size is None or size < 0 else min(size, left + 1))
        self._bytes += len(data)
        self._reads += 1
        if self._bytes > _HEADER_BYTES or self._reads > _HEADER_READS:
            raise ValueError("its header does not end")
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to another place."""
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """Return the place."""
        return self._stream.tell()

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def seekable(self) -> bool:
        """Return that places can be chosen."""
        return True


def unsupported_tiff(stream: IO[bytes]) -> str:
    """Return in words what a TIFF's samples are, if they are of no kind that is read; else nothing.

    Raises:
        Exception: whatever Pillow raises for a damaged directory.
    """
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    header = BoundedHeader(stream)
    start = header.read(8)
    if start[2:4] in (b"+\0", b"\0+"):  # BigTIFF
        start += header.read(8)
    directory: Any = ImageFileDirectory_v2(start)
    header.seek(directory.next)
    directory.load(header)
    bits, forms = (_numbers(directory.get(tag, 1)) for tag in (258, 339))
    if others := [_FORMATS[form] for form in forms if form in _FORMATS]:
        return f"{others[0]} samples of {bits[0]} bits"
    if any(count not in (1, 2, 4, 8, 16) for count in bits):
        return f"samples of {max(bits)} bits"
    width, height, *tile = (_numbers(directory.get(tag, 0))[0] for tag in (256, 257, 322, 323))
    if math.prod(tile) > max(_TILE_PIXELS, 4 * width * height):
        return f"tiles of {tile[0]}x{tile[1]} pixels, far more memory than its {width}x{height} pixels need"
    return ""


def _numbers(value: Any) -> tuple[int, ...]:
    return tuple(map(int, value)) if isinstance(value, tuple) else (int(value),)
