"""Puts calibration tiles out of focus, by the lens model of ``models/training``.

A network that sharpens answers a blurred edge with far larger values than a sharp one, so ranges of photos in
focus clip just what it is meant to do; ranges of blurred photos alone clip what it makes of sharp ones. Tiles
in focus and out of it by several radii, in turn, hold both (docs/precision.md has the measurements).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import torch

from ..models.training.apertures import Aperture, psf
from ..models.training.camera import to_linear, to_srgb
from ..models.training.defocus import blur
from ..runtime.photo import Array
from ..runtime.pixels import planes
from .samples import Samples, describe


def out_of_focus(pixels: Array, radius: float) -> Array:
    """Return a picture as a lens sees it whose circle of confusion has a radius, in linear light.

    Args:
        pixels: uint8 [H, W, 3], sRGB.
        radius: in pixels; 0 leaves the picture as it is.
    """
    if radius == 0:
        return pixels
    light = to_linear(torch.from_numpy(planes(pixels)[0]))
    seen = to_srgb(blur(light, [psf(radius, Aperture())])[0])
    return (seen * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def in_turn(samples: Samples, radii: Sequence[float]) -> Samples:
    """Return the tiles defocused by the radii in turn: tile n by radius n, then from the first radius again.

    Args:
        samples: tiles, as a rule in focus.
        radii: in pixels, at least one; 0 leaves a tile as it is. Those beyond the number of tiles are left
            out, with a warning.
    """
    tiles = []
    for tile, radius in zip(samples.tiles, itertools.cycle(radii), strict=False):
        if radius:
            pixels = out_of_focus(tile.pixels, radius)
            tile = dataclasses.replace(tile, pixels=pixels, features=describe(pixels), radius=radius)
        tiles.append(tile)
    warnings = samples.warnings
    if left_out := radii[len(tiles) :]:
        unused = ", ".join(f"{radius:g}" for radius in left_out)
        warnings += (f"{len(tiles)} tiles for {len(radii)} radii: radius {unused} pixels is not used",)
    return dataclasses.replace(samples, tiles=tuple(tiles), warnings=warnings)
