"""Put a sharp picture out of focus, in linear light.

One layer with a smooth map of the circle of confusion is blurred with a few radii over the range of the map,
and each pixel interpolates between the two nearest. That is exact where the map is constant, and conserves
energy there. Depth edges are layers: each is blurred together with its own mask and laid over what lies
behind it, so that a blurred foreground spills over the background and a blurred background does not spill
over the foreground (layered model after Lee, Kim and Choi, "Real-time depth-of-field rendering using
anisotropically filtered mipmap interpolation", 2009, and Hasinoff and Kutulakos, "A layer-based restoration
framework for variable-aperture photography", 2007).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .apertures import Aperture, extent, psf

#: Largest step between two radii that a pixel interpolates between, in pixels.
RADIUS_STEP = 1.5


@dataclass(frozen=True)
class Layer:
    """One surface of the scene.

    Attributes:
        light: [3, H, W], linear, non-negative.
        coverage: [1, H, W] from 0 to 1, where the surface is.
        radius: [H, W], radius of the circle of confusion in pixels, negative in front of the focal plane.
    """

    light: Tensor
    coverage: Tensor
    radius: Tensor


def sharp(layers: Sequence[Layer]) -> Tensor:
    """Return the scene with everything in focus, [3, H, W]; ``layers`` from back to front."""
    picture = layers[0].light
    for layer in layers[1:]:
        picture = layer.light * layer.coverage + picture * (1 - layer.coverage)
    return picture


def defocused(layers: Sequence[Layer], aperture: Aperture) -> Tensor:
    """Return the scene as the lens sees it, [3, H, W]; ``layers`` from back to front, the first one whole."""
    picture = blur_by_map(layers[0].light, layers[0].radius, aperture)
    for layer in layers[1:]:
        surface = torch.cat([layer.light * layer.coverage, layer.coverage])
        spread = blur_by_map(surface, layer.radius, aperture)
        picture = spread[:3] + picture * (1 - spread[3:])
    return picture


def blur_by_map(image: Tensor, radius: Tensor, aperture: Aperture) -> Tensor:
    """Blur [C, H, W] with the PSF of each pixel's ``radius`` [H, W]. Borders are replicated."""
    lowest, highest = float(radius.min()), float(radius.max())
    count = 1 + math.ceil((highest - lowest) / RADIUS_STEP)
    radii = [lowest + (highest - lowest) * i / max(1, count - 1) for i in range(count)]
    blurred = blur(image, [psf(r, aperture) for r in radii])
    if count == 1:
        return blurred[0]
    place = (radius - lowest) * ((count - 1) / (highest - lowest))
    weights = (1 - (place - torch.arange(count).reshape(-1, 1, 1)).abs()).clamp(min=0)
    return (blurred * weights[:, None]).sum(dim=0)


def blur(image: Tensor, kernels: Sequence[Tensor]) -> Tensor:
    """Convolve [C, H, W] with each of the odd-sized ``kernels``: [len(kernels), C, H, W]; replicated borders.

    A true convolution: the kernel is what a point of light becomes.
    """
    height, width = image.shape[-2:]
    reach = max(kernel.shape[-1] // 2 for kernel in kernels)
    if reach == 0:
        return image[None].expand(len(kernels), -1, -1, -1)
    padded = F.pad(image[None], (reach, reach, reach, reach), mode="replicate")[0]
    size = [_fast_length(side) for side in padded.shape[-2:]]
    spectrum = torch.fft.rfft2(padded, s=size)
    results = []
    for kernel in kernels:
        own = kernel.shape[-1] // 2
        full = torch.fft.irfft2(spectrum * torch.fft.rfft2(kernel, s=size), s=size)
        top = reach + own  # the kernel's centre is its tap (own, own)
        results.append(full[:, top : top + height, top : top + width])
    return torch.stack(results)


def margin(largest_radius: float, aperture: Aperture) -> int:
    """Return how many pixels beyond the frame light comes from, so that a crop has real borders."""
    return extent(largest_radius, aperture)


def _fast_length(length: int) -> int:
    """Return the next length without prime factors above 5: transforms of others are slow."""
    while True:
        rest = length
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return length
        length += 1
