"""Patterns that no photograph holds: they show what a network does near the Nyquist frequency."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

WHITE = 255


def patterns(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Return gratings, checkerboards, edges and noise: float32 [B, 3, H, W] of 0 to 1, in steps of 8 bits."""
    batch, channels, height, width = shape
    rows, columns = torch.arange(height)[:, None] * 1.0, torch.arange(width)[None, :] * 1.0
    pictures = []
    for _ in range(batch):
        kind = uniform(generator)
        if kind < 0.55:
            wave = _grating(rows, columns, generator)
        elif kind < 0.75:
            side = 1 if uniform(generator) < 0.6 else int(uniform(generator, 1, 5))
            wave = ((rows // side + columns // side) % 2) * 2 - 1
        elif kind < 0.9:
            angle = uniform(generator, 0, 2 * torch.pi)
            across = (columns - width / 2) * torch.tensor(angle).cos()
            across = across + (rows - height / 2) * torch.tensor(angle).sin()
            wave = across.sign()
        else:
            wave = torch.rand((channels, height, width), generator=generator).sub(0.5).sign()
        contrast = 1.0 if uniform(generator) < 0.5 else uniform(generator, 0.1, 1)
        middle = 0.5 + (1 - contrast) * uniform(generator, -0.5, 0.5)
        picture = (middle + 0.5 * contrast * wave).expand(channels, height, width)
        if uniform(generator) < 0.2:  # coloured
            picture = picture * torch.rand((channels, 1, 1), generator=generator)
        pictures.append(picture)
    return in_steps(torch.stack(pictures))


def pictures_in_focus(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Return what is in focus and no photograph: :func:`patterns`, zone plates, noise or lights. float32
    [B, 3, H, W] of 0 to 1, in steps of 8 bits, each picture of the batch drawn by itself."""
    batch, *rest = shape
    return torch.cat([_picture_in_focus((1, *rest), generator) for _ in range(batch)])


def _picture_in_focus(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    kind = uniform(generator)
    if kind < 0.72:
        return patterns(shape, generator)
    height, width = shape[-2:]
    rows, columns = torch.arange(height)[:, None] * 1.0, torch.arange(width)[None, :] * 1.0

    def place(beyond: float = 0.0) -> Tensor:
        y, x = (uniform(generator, -beyond * side, (1 + beyond) * side) for side in (height, width))
        return (rows - y) ** 2 + (columns - x) ** 2

    if kind < 0.84:  # a zone plate: waves that become shorter with the distance from a point
        reach = uniform(generator, 0.6, 1.6) * max(height, width)
        turns = place(0.2) / (4 * reach) + uniform(generator)
        picture = 0.5 + 0.5 * torch.cos(2 * torch.pi * turns)
    elif kind < 0.95:
        deviation = 2 ** uniform(generator, 0, 6.6) / 255
        picture = uniform(generator, 0.2, 0.8) + deviation * torch.randn(shape, generator=generator)
    else:
        picture = torch.full((height, width), uniform(generator, 0, 0.2))
        for _ in range(10):
            radius = uniform(generator, 1, 0.09 * max(height, width))
            picture = torch.where(place() < radius**2, torch.ones(()), picture)
        picture = 1 - picture if uniform(generator) < 0.4 else picture
    return in_steps(picture).expand(shape)


def uniform(generator: torch.Generator, low: float = 0.0, high: float = 1.0) -> float:
    """Return a number from ``low`` to ``high``, drawn from ``generator``."""
    return low + (high - low) * float(torch.rand((), generator=generator))


def _grating(rows: Tensor, columns: Tensor, generator: torch.Generator) -> Tensor:
    """Return a wave of -1 to 1 with a period of 2 to 16 pixels, mostly short, and mostly along an axis."""
    period = 2.0 if uniform(generator) < 0.25 else 2 * 8 ** (uniform(generator) ** 2)
    which = uniform(generator)
    angle = 0.0 if which < 0.45 else torch.pi / 2 if which < 0.7 else uniform(generator, 0, torch.pi)
    turns = columns * torch.tensor(angle).cos() + rows * torch.tensor(angle).sin()
    wave = torch.cos(2 * torch.pi * (turns / period + uniform(generator)))
    if uniform(generator) < 0.5:
        wave = torch.cos(2 * torch.pi * turns / period)  # full contrast where the period is two pixels
    return wave.sign() if uniform(generator) < 0.25 else wave


PERIODS = (2.5, 4.0, 5.5, 8.0)
"""Of gratings, in pixels; ``verify --worst-case`` starts with others."""


def gratings(size: tuple[int, int]) -> dict[str, Tensor]:
    """Return name -> picture, float32 [1, 3, H, W] of 0 to 1, at full contrast along rows and columns: what
    changes from each pixel to the next, and waves of :data:`PERIODS`."""
    height, width = size
    rows, columns = torch.arange(height)[:, None].float(), torch.arange(width)[None, :].float()
    waves = {"checkerboard": 0.5 + 0.5 * torch.cos(torch.pi * (rows + columns))}
    for period in (2.0, *PERIODS):
        for name, along in (("rows", rows), ("columns", columns)):
            wave = 0.5 + 0.5 * torch.cos(2 * torch.pi * along / period)
            waves[f"{name} of period {period:g}"] = wave
    return {name: in_steps(wave).expand(1, 3, height, width).contiguous() for name, wave in waves.items()}


def in_steps(picture: Tensor) -> Tensor:
    """Return a picture of 0 to 1 in steps of 8 bits."""
    return (picture.clamp(0, 1) * WHITE).round() / WHITE
