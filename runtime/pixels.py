"""Pictures as arrays: the middle of one, the array that a contract takes, and how far two are apart.

Needs numpy only. Pictures are height x width x channels.
"""

from __future__ import annotations

import math

import numpy as np

from .photo import Array, Photo
from .tensors import TensorContract

LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
"""Weights of red, green and blue in the luminance of ITU-R BT.709."""

PSNR_LIMIT_DB = 200.0
"""What equal pictures get instead of infinity, which JSON cannot hold."""


def crop(photo: Photo, contract: TensorContract) -> Array:
    """Return the middle of ``photo`` in the shape, dtype and range of ``contract``.

    Of a batch each picture is moved on by a part of its width, so that no two are equal. A photo smaller than
    the contract's size is continued by its mirror image. A 16-bit photo keeps its tones in a float contract
    and is rounded to 8 bits for a ``uint8`` one.
    """
    source = photo.to_8bit() if contract.dtype == "uint8" else photo
    inside = middle(source.pixels, contract.size)
    if contract.shape[0] == 1:
        return as_input(inside, contract, source.white)
    step = max(1, contract.size[1] // contract.shape[0])
    moved = (np.roll(inside, index * step, axis=1) for index in range(contract.shape[0]))
    return np.concatenate([as_input(one, contract, source.white) for one in moved])


def as_input(pixels: Array, contract: TensorContract, white: int = 255) -> Array:
    """Return a picture of the contract's size as the contract's array, with a batch axis of 1 in front.

    Args:
        pixels: height x width x 3, in colours that the contract takes as they are (3 channels), as their
            luminance (1), or with an opaque alpha (4); whole numbers from 0 to ``white``; bytes where the
            contract is ``uint8``.
        contract: layout, dtype and range.
        white: 255 for 8 bits, 65535 for 16.
    """
    pixels = in_channels(pixels, contract.channels, white)
    if contract.dtype == "uint8":
        array = pixels
    else:
        low, high = contract.limits
        array = (pixels / white * (high - low) + low).astype(np.float32)
    if contract.layout == "NCHW":
        array = array.transpose(2, 0, 1)
    return np.ascontiguousarray(array[None])


def in_channels(pixels: Array, channels: int, white: int = 255) -> Array:
    """Return a picture of 3 channels in 1 (luminance, ITU-R BT.709), in 3 (itself) or in 4 (opaque alpha)."""
    if channels == 1:
        grey: Array = np.rint(pixels @ LUMINANCE).astype(pixels.dtype)
        return grey[..., None]
    if channels == 4:
        alpha = np.full((*pixels.shape[:2], 1), white, pixels.dtype)
        return np.concatenate([pixels, alpha], axis=2)
    return pixels


def planes(pixels: Array) -> Array:
    """Return a picture of bytes as float32 [1, channels, height, width] from 0 to 1."""
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None].astype(np.float32) / 255)


def picture(array: Array, contract: TensorContract) -> Array:
    """Return an array that fits ``contract`` as a picture: uint8, height x width x channels, clamped and
    rounded."""
    pixels = array[0].transpose(1, 2, 0) if contract.layout == "NCHW" else array[0]
    if contract.dtype == "uint8":
        return np.ascontiguousarray(pixels)
    low, high = contract.limits
    unit = (pixels.astype(np.float64) - low) / (high - low)
    rounded: Array = np.rint(np.clip(unit, 0, 1) * 255).astype(np.uint8)
    return rounded


def middle(pixels: Array, size: tuple[int, int]) -> Array:
    """Return the middle ``size`` (height, width) of a picture; :func:`mirrored` where it is smaller."""
    pixels = mirrored(pixels, size)
    return pixels[middle_of(pixels.shape[0], size[0]), middle_of(pixels.shape[1], size[1])]


def middle_of(have: int, want: int) -> slice:
    """Return the middle ``want`` of an axis of ``have`` pixels; all of it where it is shorter."""
    start = max(0, (have - want) // 2)
    return slice(start, start + want)


def mirrored(pixels: Array, size: tuple[int, int]) -> Array:
    """Return a picture continued by its mirror image on both sides where it is smaller than ``size``."""
    padding = []
    for have, want in zip(pixels.shape, size, strict=False):
        missing = max(0, want - have)
        padding.append((missing // 2, missing - missing // 2))
    if any(before or after for before, after in padding):
        pixels = np.pad(pixels, [*padding, (0, 0)], mode="symmetric")
    return pixels


def psnr_db(actual: Array, expected: Array) -> float:
    """Return the peak signal-to-noise ratio in decibels, at most 200 (equal pictures).

    White is 1, and 255 where ``actual`` holds bytes. -200 where a value is not finite.
    """
    white = 255.0 if actual.dtype == "uint8" else 1.0
    error = float((((actual.astype(np.float64) - expected) / white) ** 2).mean())
    if not math.isfinite(error):
        return -PSNR_LIMIT_DB
    return PSNR_LIMIT_DB if error == 0 else min(PSNR_LIMIT_DB, -10 * math.log10(error))
