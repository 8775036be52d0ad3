"""What a camera does to the light: noise, tone curve, JPEG. Tensors are [3, H, W], light is linear."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor


@dataclass(frozen=True)
class Camera:
    """How one photo is taken.

    Attributes:
        shot: variance of the photon noise for light 1; it grows with the light.
        read: standard deviation of the noise that is there without light.
        contrast: of an S-shaped curve after the sRGB one, from -0.3 (flatter) to 0.3 (steeper).
        quality: of the JPEG file, 1 to 100; ``None`` for none.
    """

    shot: float = 0.0
    read: float = 0.0
    contrast: float = 0.0
    quality: int | None = None


def to_linear(picture: Tensor) -> Tensor:
    """Decode sRGB in [0, 1] to linear light (IEC 61966-2-1)."""
    return torch.where(picture <= 0.04045, picture / 12.92, ((picture + 0.055) / 1.055) ** 2.4)


def to_srgb(light: Tensor) -> Tensor:
    """Encode linear light as sRGB (IEC 61966-2-1); what is outside [0, 1] is clipped."""
    light = light.clamp(0, 1)
    return torch.where(light <= 0.0031308, light * 12.92, 1.055 * light.clamp(min=1e-8) ** (1 / 2.4) - 0.055)


def develop(light: Tensor, camera: Camera) -> Tensor:
    """Return the picture a camera makes of light, in [0, 1], without noise or compression."""
    picture = to_srgb(light)
    curve = picture * picture * (3 - 2 * picture)
    return (picture + camera.contrast * (curve - picture)).clamp(0, 1)


def add_noise(light: Tensor, camera: Camera, generator: torch.Generator) -> Tensor:
    """Add noise whose variance is ``shot * light + read**2`` (Foi et al., "Practical Poissonian-Gaussian
    noise modeling and fitting for single-image raw-data", 2008).
    """
    if camera.shot == 0 and camera.read == 0:
        return light
    deviation = torch.sqrt(camera.shot * light.clamp(min=0) + camera.read**2)
    return light + deviation * torch.randn(light.shape, generator=generator)


def through_jpeg(picture: Tensor, quality: int | None) -> Tensor:
    """Round to 8 bits, and if a ``quality`` is given, through a JPEG file of it."""
    samples = (picture * 255).round().clamp(0, 255).to(torch.uint8)
    if quality is not None:
        file = io.BytesIO()
        Image.fromarray(samples.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
        samples = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)
    return samples.float() / 255
