"""Pieces of the sample photos, for networks whose inputs are photos together with something else."""

from __future__ import annotations

import numpy as np

from ...runtime.errors import SourceError
from ...runtime.images import read_photo
from ...runtime.photo import Array
from ...runtime.pixels import mirrored
from ...runtime.samples import sample_photos
from .base import TensorSpec

_LUMA = np.array([[0.299], [0.587], [0.114]])  # of ITU-R BT.601


def photo_crops(spec: TensorSpec, count: int, *, seed: int = 0) -> list[Array]:
    """Return pieces of the sample photos that fit a picture input, always the same ones for a seed.

    Args:
        spec: a picture in ``grey`` or ``RGB`` with all sides filled in.
        count: how many; the photos take turns.
        seed: chooses the places.

    Returns:
        Arrays of the input's shape and dtype, black at the low end of its range and white at the high end.

    Raises:
        SourceError: the input is no such picture.
    """
    if spec.color not in ("grey", "RGB") or None in spec.shape or spec.value_range is None:
        raise SourceError(f"input {spec.name!r} ({spec.words}) is no grey or RGB picture of a fixed size")
    _, _, height, width = (int(side or 0) for side in spec.shape)
    photos = [mirrored(read_photo(path).pixels, (height, width)) for path in sample_photos()]
    generator = np.random.default_rng(seed)
    crops = []
    for n in range(count):
        photo = photos[n % len(photos)]
        top = int(generator.integers(photo.shape[0] - height + 1))
        left = int(generator.integers(photo.shape[1] - width + 1))
        crops.append(as_planes(photo[top : top + height, left : left + width], spec))
    return crops


def as_planes(pixels: Array, spec: TensorSpec, white: int = 255) -> Array:
    """Return pixels [H, W, 3 or more] as a picture input, grey or RGB, in its range and dtype.

    Args:
        pixels: whole numbers from 0 to ``white``.
        spec: the input; further channels of ``pixels`` go in as they are.
        white: 255 for 8 bits, 65535 for 16.
    """
    low, high = spec.value_range or (0.0, 1.0)
    values = pixels.astype(np.float64)
    if spec.color == "grey":
        values = values[..., :3] @ _LUMA
    planes = (values / white * (high - low) + low).transpose(2, 0, 1)[None]
    if np.dtype(spec.dtype).kind in "iu":
        planes = np.rint(planes)
    batch = np.repeat(planes, spec.shape[0] or 1, axis=0)
    return np.ascontiguousarray(batch.astype(spec.dtype))
