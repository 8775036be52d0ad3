"""From a photograph to an array that a contract takes. Needs numpy only."""

from __future__ import annotations

from typing import Any

import numpy as np

from .passport import TensorContract
from .photo import Photo


def crop(photo: Photo, contract: TensorContract) -> np.ndarray[Any, Any]:
    """Return the middle of ``photo`` in the shape, dtype and range of ``contract``.

    A photo smaller than the contract's size is continued by its mirror image. A 16-bit photo keeps its
    tones in a float contract and is rounded to 8 bits for a ``uint8`` one.
    """
    source = photo.to_8bit() if contract.dtype == "uint8" else photo
    pixels = _middle(source.pixels, contract.size)
    if contract.dtype == "uint8":
        array = pixels
    else:
        low, high = contract.value_range
        array = (pixels / source.white * (high - low) + low).astype(np.float32)
    if contract.layout == "NCHW":
        array = array.transpose(2, 0, 1)
    return np.ascontiguousarray(array[None])


def picture(array: np.ndarray[Any, Any], contract: TensorContract) -> np.ndarray[Any, Any]:
    """Return an array that fits ``contract`` as a picture: uint8, height x width x 3, clamped and rounded."""
    pixels = array[0].transpose(1, 2, 0) if contract.layout == "NCHW" else array[0]
    if contract.dtype == "uint8":
        return np.ascontiguousarray(pixels)
    low, high = contract.value_range
    unit = (pixels.astype(np.float64) - low) / (high - low)
    rounded: np.ndarray[Any, Any] = np.rint(np.clip(unit, 0, 1) * 255).astype(np.uint8)
    return rounded


def _middle(pixels: np.ndarray[Any, Any], size: tuple[int, int]) -> np.ndarray[Any, Any]:
    padding = []
    for have, want in zip(pixels.shape, size, strict=False):
        missing = max(0, want - have)
        padding.append((missing // 2, missing - missing // 2))
    if any(before or after for before, after in padding):
        pixels = np.pad(pixels, [*padding, (0, 0)], mode="symmetric")
    top, left = ((have - want) // 2 for have, want in zip(pixels.shape, size, strict=False))
    return pixels[top : top + size[0], left : left + size[1]]
