"""The weight file of a package (``weight.bin``): blobs of 64-byte headers and raw little-endian elements.

The layout is that of Apple's MIL blob storage, version 2, as coremltools ships it: a file header (count,
version), and at each blob's offset a sentinel, the element type, the size in bytes and where the data start.
"""

from __future__ import annotations

import math
import mmap
import struct
from pathlib import Path

import numpy as np

from ..errors import ArtifactError
from ..outside.files import open_regular
from .immediate import Array
from .program import TensorType

_SENTINEL = 0xDEADBEEF
_VERSION = 2
_DTYPES = {
    1: "float16",
    2: "float32",
    3: "uint8",
    4: "int8",
    6: "int16",
    7: "uint16",
    14: "int32",
    15: "uint32",
}


class WeightFile:
    """A weight file, mapped; arrays read from it are copies."""

    def __init__(self, path: Path) -> None:
        """Map the file.

        Raises:
            ValueError: not a weight file of the known version.
        """
        with open_regular(path, ArtifactError) as file:
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if len(self._data) < 64:
            raise ValueError("the file is cut short")
        version = struct.unpack_from("<I", self._data, 4)[0]
        if version != _VERSION:
            raise ValueError(f"the file is of version {version}; this release reads {_VERSION}")

    def read(self, offset: int, kind: TensorType) -> Array:
        """Return the array whose header is at ``offset``.

        Raises:
            ValueError: there is none, or it is not what the program says.
        """
        if offset < 64 or offset % 64 or offset + 64 > len(self._data):
            raise ValueError("no header can be there")
        sentinel, number, size, start = struct.unpack_from("<IIQQ", self._data, offset)
        if sentinel != _SENTINEL:
            raise ValueError("no header is there")
        dtype = _DTYPES.get(number)
        if dtype != kind.dtype:
            raise ValueError(f"holds {dtype or f'element type {number}'}, the program says {kind}")
        if size != math.prod(kind.shape) * np.dtype(dtype).itemsize:
            raise ValueError(f"holds {size} bytes, the program says {kind}")
        if start + size > len(self._data):
            raise ValueError("the file is cut short")
        values = np.frombuffer(self._data, np.dtype(dtype).newbyteorder("<"), math.prod(kind.shape), start)
        return values.astype(dtype, copy=True).reshape(kind.shape)

    def close(self) -> None:
        """Unmap the file."""
        self._data.close()
