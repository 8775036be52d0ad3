"""Pairs of a defocused and a sharp picture, each from its own number: the same on every run and machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..patterns import WHITE, pictures_in_focus
from . import camera as cameras
from .apertures import Aperture
from .defocus import Layer, defocused, margin, sharp
from .photos import SharpPhoto
from .scenes import random_aperture, random_camera, random_scene, random_stop, uniform

#: Keeps the pairs of one seed apart from those of the next. Far from small multiples of 2^32, of which the
#: generator uses the remainder (the golden ratio, after Knuth, "The Art of Computer Programming", 6.4).
SEED_STRIDE = 0x9E3779B1

#: The opening of a lens stopped down.
ROUND = Aperture()


@dataclass(frozen=True)
class Mixture:
    """How often which kind of pair is drawn; the rest is one smooth surface.

    ``flat`` and ``focused`` teach the network to leave alone what needs nothing. ``patterns`` are in focus
    too, with noise of half a step of 8 bits: a network that saw none enlarges such noise by 25 dB on gratings
    near the Nyquist frequency, and with it the rounding of an int8 artifact.
    """

    flat: float = 0.05
    focused: float = 0.12
    layered: float = 0.35
    patterns: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """What a data set is drawn from, apart from the photos. ``side`` and ``largest_radius`` in pixels."""

    side: int = 256
    largest_radius: float = 12.0
    seed: int = 0
    mixture: Mixture = Mixture()


class DefocusPairs(Dataset[tuple[Tensor, Tensor]]):
    """(defocused, sharp), each float32 [3, side, side] in [0, 1], sRGB. Pair ``i`` depends on
    nothing but ``i``, the recipe and the photos.
    """

    def __init__(self, photos: Sequence[SharpPhoto], recipe: Recipe, count: int) -> None:
        """Offer ``count`` pairs from ``photos``."""
        self.photos, self.recipe, self.count = photos, recipe, count

    def __len__(self) -> int:
        """Return the number of pairs."""
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return pair ``index``."""
        generator = torch.Generator().manual_seed((self.recipe.seed * SEED_STRIDE + index) % 2**32)
        kind = uniform(0, 1, generator)
        mixture = self.recipe.mixture
        if kind < mixture.patterns:
            side = self.recipe.side
            pattern = pictures_in_focus((1, 3, side, side), generator)[0].contiguous()
            noise = (torch.rand(pattern.shape, generator=generator) - 0.5) / WHITE
            return (pattern + noise).clamp(0, 1), pattern
        kind -= mixture.patterns
        if kind < mixture.flat:
            tone = torch.rand(3, 1, 1, generator=generator)
            if uniform(0, 1, generator) < 0.5:
                tone = tone[:1].expand(3, 1, 1)  # grey
            flat = cameras.through_jpeg(tone.expand(3, self.recipe.side, self.recipe.side), None)
            return flat, flat
        kind -= mixture.flat
        if kind < mixture.focused:
            return self._pair(0.0, 1, generator)
        layers = 1
        if kind - mixture.focused < mixture.layered:
            layers = 2 if uniform(0, 1, generator) < 0.75 else 3
        return self._pair(self.recipe.largest_radius, layers, generator)

    def _pair(self, largest: float, layers: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        aperture = random_aperture(generator)
        camera = random_camera(generator)
        border = margin(largest, aperture)
        scene = random_scene(self.photos, self.recipe.side + 2 * border, largest, layers, generator)
        return photograph(scene, aperture, camera, border, generator, stop=random_stop(generator))


def photograph(
    scene: list[Layer],
    aperture: Aperture,
    camera: cameras.Camera,
    border: int,
    generator: torch.Generator,
    stop: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Take a scene twice, without its border: defocused with noise and compression, sharp with neither.

    For the second the lens is stopped down until the circles of confusion are ``stop`` times as large.
    """
    size = scene[0].light.shape[-1] - 2 * border
    inside = slice(border, border + size)
    light = defocused(scene, aperture)[:, inside, inside]
    light = cameras.add_noise(light, camera, generator)
    blurred = cameras.through_jpeg(cameras.develop(light, camera), camera.quality)
    stopped_down = [replace(layer, radius=layer.radius * stop) for layer in scene]
    target = cameras.develop(
        (defocused(stopped_down, ROUND) if stop else sharp(scene))[:, inside, inside], camera
    )
    return blurred, target
