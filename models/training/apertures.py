"""The point spread function (PSF) of a lens out of focus: what one point of light becomes on the sensor.

In geometrical optics that is the shape of the lens opening, scaled to the circle of confusion (Potmesil and
Chakravarty, "A lens and aperture camera model for synthetic image generation", 1981): a disk, or the polygon
that the aperture blades leave. Towards the corners of the frame the barrel cuts a part of it away (cat's
eye). Spherical aberration moves light between the rim and the centre, one way in front of the focal plane and
the other way behind it (Nasse, "Depth of field and bokeh", Carl Zeiss 2010).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

#: Points per pixel and axis at which the shape is looked up. Odd, so that one of them is the centre, which
#: alone is left when the radius goes to zero.
OVERSAMPLING = 7
#: Below this radius in pixels only that one point is inside: no blur.
NO_BLUR = 0.5 / OVERSAMPLING


@dataclass(frozen=True)
class Aperture:
    """The shape of a lens opening, for a radius of 1.

    Attributes:
        blades: sides of the polygon; 0 for a round opening.
        roundness: from 0, straight sides, to 1, a circle in spite of the blades.
        rotation: of the polygon, in radians.
        rim: width of the soft edge as a part of the radius, below 1.
        aberration: how much brighter the rim is than the mean behind the focal plane, from -1 to 1. In front
            of it the sign turns.
        cut: (x, y) by which the barrel's own circle is shifted; (0, 0) in the middle of the frame, below 1.
    """

    blades: int = 0
    roundness: float = 0.0
    rotation: float = 0.0
    rim: float = 0.05
    aberration: float = 0.0
    cut: tuple[float, float] = (0.0, 0.0)


def extent(radius: float, aperture: Aperture) -> int:
    """Return how many pixels the PSF reaches from its centre; it is ``2 * extent + 1`` pixels wide."""
    if abs(radius) < NO_BLUR:
        return 0
    corner = 1.0
    if aperture.blades:
        # The circumscribed circle of a polygon with the area of the unit disk.
        n = aperture.blades
        corner = math.sqrt(2 * math.pi / (n * math.sin(2 * math.pi / n)))
    return math.ceil(abs(radius) * corner * (1 + aperture.rim) + 0.5)


def psf(radius: float, aperture: Aperture) -> Tensor:
    """Return the PSF, float32 [k, k] with k odd, of non-negative taps that sum to 1.

    Args:
        radius: of the circle of confusion in pixels; the shape has the area of a disk of this radius (before
            the barrel's cut). Negative in front of the focal plane, where the picture of the opening is
            upside down. 0 gives the identity.
        aperture: the shape.
    """
    reach = extent(radius, aperture)
    if reach == 0:
        return torch.ones(1, 1)
    size = 2 * reach + 1
    points = (torch.arange(size * OVERSAMPLING) - (size * OVERSAMPLING - 1) / 2) / (OVERSAMPLING * radius)
    light = _opening(points[None, :], points[:, None], aperture, math.copysign(1.0, radius))
    taps = light.reshape(size, OVERSAMPLING, size, OVERSAMPLING).mean(dim=(1, 3))
    return taps / taps.sum()


def _opening(x: Tensor, y: Tensor, aperture: Aperture, side: float) -> Tensor:
    """Return the light through the points (x, y) of a unit opening; ``side`` is the radius's sign."""
    distance = torch.sqrt(x * x + y * y)
    edge: Tensor | float = 1.0
    if aperture.blades and aperture.roundness < 1:
        step = 2 * math.pi / aperture.blades
        phase = torch.remainder(torch.atan2(y, x) - aperture.rotation, step) - step / 2
        # A regular polygon whose area is that of the unit disk.
        apothem = math.sqrt(math.pi / (aperture.blades * math.tan(step / 2)))
        edge = (1 - aperture.roundness) * apothem / torch.cos(phase) + aperture.roundness
    light = _inside(distance / edge, aperture.rim)
    if aperture.cut != (0.0, 0.0):
        dx, dy = aperture.cut
        light = light * _inside(torch.sqrt((x - dx) ** 2 + (y - dy) ** 2), aperture.rim)
    # 2 r^2 - 1 has the mean 0 over the unit disk: light moves, none is added.
    return light * (1 + side * aperture.aberration * (2 * distance.clamp(max=1.0) ** 2 - 1)).clamp(min=0.0)


def _inside(distance: Tensor, rim: float) -> Tensor:
    """Return 1 inside, 0 outside, and a smooth step of half-width ``rim`` around 1."""
    if rim <= 0:
        return (distance <= 1).float()
    t = ((1 + rim - distance) / (2 * rim)).clamp(0, 1)
    return t * t * (3 - 2 * t)
