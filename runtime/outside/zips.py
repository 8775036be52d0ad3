"""Zip archives: foreign ones are opened with a bounded table of contents, our own are written plainly."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from typing import IO

import numpy as np

from ..device.entry import bounded_zip
from .npy import Array

__all__ = ["bounded_zip", "write_npz"]
# The function stands in the one file of a bundle that must need nothing else.


def write_npz(stream: IO[bytes], arrays: Mapping[str, Array]) -> None:
    """Write arrays as NumPy's ``.npz``, whatever their names are.

    ``numpy.savez`` takes names as keyword arguments, so that an array called ``file`` or ``allow_pickle``
    would fail or be left out.

    Args:
        stream: open for writing in binary.
        arrays: plain numbers by name.
    """
    with zipfile.ZipFile(stream, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)
