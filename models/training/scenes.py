"""Random scenes: how far which pixel is out of focus, what stands before what, and through which lens."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .apertures import Aperture
from .camera import Camera, to_linear
from .defocus import Layer
from .photos import SharpPhoto, crop

#: Light above this is taken for clipped, and may have been brighter: highlights become disks, not grey spots.
CLIPPED = 0.9


def uniform(low: float, high: float, generator: torch.Generator) -> float:
    """Return a random number from ``low`` to ``high``."""
    return low + (high - low) * float(torch.rand((), generator=generator))


def random_aperture(generator: torch.Generator) -> Aperture:
    """Return a lens opening at a random place of the frame."""
    blades = (0, 0, 5, 6, 7, 8, 9)[int(torch.randint(7, (), generator=generator))]
    angle, away = uniform(0, 2 * math.pi, generator), uniform(0, 1, generator) ** 2 * 0.5
    return Aperture(
        blades=blades,
        roundness=uniform(0, 1, generator),
        rotation=uniform(0, 2 * math.pi, generator),
        rim=uniform(0.02, 0.2, generator),
        aberration=uniform(-0.4, 0.4, generator),
        cut=(away * math.cos(angle), away * math.sin(angle)),
    )


def random_camera(generator: torch.Generator) -> Camera:
    """Return a camera: half of them at a low sensitivity, two in three with JPEG of good quality."""
    noisy = uniform(0, 1, generator) ** 3
    jpeg = uniform(0, 1, generator) < 0.66
    return Camera(
        shot=noisy * 2e-3,
        read=noisy * 6e-3,
        contrast=uniform(-0.2, 0.3, generator),
        quality=int(uniform(80, 100, generator)) if jpeg else None,
    )


def smooth_noise(side: int, cells: int, generator: torch.Generator) -> Tensor:
    """Return [side, side] of smooth random values, about 1 in size, with ``cells`` bumps along each axis."""
    values = torch.randn(1, 1, cells + 3, cells + 3, generator=generator)
    grown = F.interpolate(values, size=(side, side), mode="bicubic", align_corners=True)
    return grown[0, 0]


def random_radius(side: int, largest: float, generator: torch.Generator) -> Tensor:
    """Return a smooth map [side, side] of circles of confusion: a slanted or wavy surface, either side.

    Its middle leans to small blurs (half are below 0.35 ``largest``): most photographs are only slightly out
    of focus, and there is more to win than where a large circle of confusion has wiped the detail out.
    """
    middle = uniform(0, 1, generator) ** 1.5 * largest
    if uniform(0, 1, generator) < 0.35:
        radius = torch.full((side, side), middle)  # a distant view, or a flat subject: the same everywhere
    else:
        axis = torch.linspace(-1, 1, side)
        angle, slope = uniform(0, 2 * math.pi, generator), uniform(0, 0.35, generator) * largest
        radius = middle + slope * (math.cos(angle) * axis[None] + math.sin(angle) * axis[:, None])
        waves = uniform(0, 0.15, generator) * largest
        radius = radius + waves * smooth_noise(side, 1 + int(uniform(0, 3, generator)), generator)
    sign = 1.0 if uniform(0, 1, generator) < 0.5 else -1.0
    return sign * radius.clamp(-largest, largest)


def random_exposure(generator: torch.Generator) -> float:
    """Return what to multiply light by: 1 for half of the scenes, up to two stops less for the others."""
    stops = uniform(0, 2, generator)
    return 2.0**-stops if uniform(0, 1, generator) < 0.5 else 1.0


def random_softness(generator: torch.Generator) -> float:
    """Return the deviation in pixels of a Gaussian that stays in the sharp picture too; 0 for half of them.

    A photo at the size a camera delivers is never as sharp as one reduced; its own softness (lens, filter
    before the sensor, interpolation of colours) must not be taken for defocus.
    """
    deviation = uniform(0.3, 0.8, generator)
    return deviation if uniform(0, 1, generator) < 0.5 else 0.0


def random_stop(generator: torch.Generator) -> float:
    """Return how large the circles of confusion are in the sharp picture, relative to the defocused one's.

    Not 0 for half of the scenes: a real partner is taken with the lens stopped down, from f/2.8 to f/8 with
    circles 0.35 times as large, and a network that expects none at all overshoots on such pictures.
    """
    relative = uniform(0, 0.35, generator)
    return relative if uniform(0, 1, generator) < 0.5 else 0.0


def soften(light: Tensor, deviation: float) -> Tensor:
    """Convolve [C, H, W] with a Gaussian of ``deviation`` in pixels, at most 1; borders are replicated."""
    if deviation == 0:
        return light
    taps = torch.exp(-0.5 * (torch.arange(-3, 4) / deviation) ** 2)
    kernel = torch.outer(taps, taps) / taps.sum() ** 2
    padded = F.pad(light[None], (3, 3, 3, 3), mode="replicate")[0]
    return F.conv2d(padded[:, None], kernel[None, None])[:, 0]


def random_scene(
    photos: Sequence[SharpPhoto], side: int, largest: float, layers: int, generator: torch.Generator
) -> list[Layer]:
    """Return a scene from back to front: a photo, and ``layers - 1`` cut-outs of others before it."""
    scene = []
    exposure, softness = random_exposure(generator), random_softness(generator)
    for number in range(layers):
        light = soften(to_linear(crop(photos, side, generator)), softness)
        light = torch.where(light > CLIPPED, light * uniform(1.0, 3.0, generator), light) * exposure
        coverage = torch.ones(1, side, side)
        if number:
            shape = smooth_noise(side, 1 + int(uniform(0, 4, generator)), generator)
            # Across one pixel, from outside to inside: an edge as sharp as the pixels can show.
            steep = shape / shape.diff(dim=0).abs().mean().clamp(min=1e-4)
            coverage = (0.5 + steep).clamp(0, 1)[None]
        scene.append(Layer(light, coverage, random_radius(side, largest, generator)))
    return scene
