"""Pictures that no photographer takes and that networks stumble over, made for a size; 8 bits, RGB."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ...runtime.photo import Array

ANGLES = 12
LEVELS = (2, 16, 64)
PERIODS = (2.0, 2.1, 3.0, 6.0)


def hard_cases(size: tuple[int, int], photos: Sequence[Array] = ()) -> Iterator[tuple[str, Array]]:
    """Yield (name, uint8 array of height x width x 3).

    Edges at every angle, gratings near the Nyquist frequency, a zone plate, saturated highlights, flat
    fields, noise at several levels, and of each photo strips eight times as long as wide, continued by
    mirroring.

    Args:
        size: height and width in pixels.
        photos: uint8 pictures to cut strips from.
    """
    height, width = size
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
    y, x = rows - (height - 1) / 2, columns - (width - 1) / 2
    for step in range(ANGLES):
        angle = np.pi * step / ANGLES
        side = x * np.cos(angle) + y * np.sin(angle) > 0
        yield f"edge at {180 * step // ANGLES} degrees", _grey(255.0 * side)
    for period in PERIODS:
        yield f"columns of period {period:g}", _grey(_wave(columns / period))
        yield f"rows of period {period:g}", _grey(_wave(rows / period))
    yield "checkerboard", _grey(255.0 * (np.indices(size).sum(0) % 2))
    reach = np.hypot(height, width) / 2
    yield "zone plate", _grey(_wave((x**2 + y**2) / (4 * reach)))
    random = np.random.default_rng(0)
    lights = np.full((height, width, 3), 8.0)
    for _ in range(12):
        cy, cx = random.uniform(-height / 2, height / 2), random.uniform(-width / 2, width / 2)
        lights[np.hypot(y - cy, x - cx) < random.uniform(1, 1 + min(size) / 12)] = 255.0
    yield "saturated lights in the dark", _bytes(lights)
    yield "dark spots in saturation", _bytes(263.0 - lights)
    for level in (0, 128, 255):
        yield f"flat {level}", _grey(np.full(size, float(level)))
    yield "flat red", _bytes(np.broadcast_to(np.array([255.0, 0, 0]), (height, width, 3)))
    for level in LEVELS:
        yield f"noise of {level}", _bytes(128 + level * random.standard_normal((height, width, 3)))
    yield "black and white noise", _bytes(255.0 * random.integers(0, 2, (height, width, 3)))
    for number, photo in enumerate(photos):
        for name, cut in (("wide", (height // 8, width)), ("tall", (height, width // 8))):
            strip = photo[: max(1, cut[0]), : max(1, cut[1])]
            missing = [(0, have - got) for have, got in zip(size, strip.shape[:2], strict=True)]
            padded = np.pad(strip, [*missing, (0, 0)], mode="symmetric")
            yield f"{name} strip of photo {number + 1}", padded


def _wave(turns: Array) -> Array:
    wave: Array = 127.5 + 127.5 * np.cos(2 * np.pi * turns)
    return wave


def _grey(values: Array) -> Array:
    return _bytes(np.broadcast_to(values[..., None], (*values.shape, 3)))


def _bytes(values: Array) -> Array:
    pixels: Array = np.rint(np.clip(values, 0, 255)).astype(np.uint8)
    return pixels
