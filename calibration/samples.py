"""Which pieces of which photos ranges are taken from: chosen for what they cover, not at random.

Each photo is cut into tiles of the network's size. A tile is described by four figures (:class:`Features`),
and tiles are taken one after the other, always the one farthest from all taken so far (the farthest-point
heuristic for the k-centre problem: Gonzalez, "Clustering to minimize the maximum intercluster distance",
1985), so that dark and bright, smooth and busy, grey and colourful are all there.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..runtime.errors import CalibrationError
from ..runtime.images import FORMATS, read_photo
from ..runtime.photo import Array, Photo
from ..runtime.pixels import middle_of, planes

DEFAULT_COUNT = 24
"""Tiles that ranges are taken from."""
LEAST_PHOTOS = 2
FEW_PHOTOS = 4
"""Fewer than this is allowed with a warning: ranges then follow a few scenes."""
CANDIDATES_PER_PHOTO = 12
DARK = 4 / 255
"""A tile whose brightest sample is below this shows nothing."""


@dataclass(frozen=True)
class Features:
    """What a tile looks like: mean of luminance and of saturation (0 to 1), root mean square of the gradient,
    and the slope of the radial power spectrum in a log-log plot (about -2 for a sharp photo, steeper where
    blurred)."""

    luminance: float
    saturation: float
    gradient: float
    slope: float

    def vector(self) -> Array:
        """Return the four on scales on which a step of 1 means about as much for each."""
        return np.array(
            [self.luminance / 0.25, self.saturation / 0.25, math.log(self.gradient + 1e-3), self.slope]
        )


@dataclass(frozen=True, eq=False)
class Tile:
    """One piece: uint8 [height, width, 3], where it is from, its features, and the radius in pixels by which
    it was put out of focus (:func:`.defocus.in_turn`)."""

    photo: str
    top: int
    left: int
    pixels: Array
    features: Features
    radius: float = 0.0


@dataclass(frozen=True, eq=False)
class Samples:
    """The tiles chosen, and what to say about them."""

    tiles: tuple[Tile, ...]
    photos: int
    candidates: int
    warnings: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """Hash over the pixels of all tiles in order: what the ranges were taken from."""
        digest = hashlib.sha256()
        for tile in self.tiles:
            digest.update(f"{tile.pixels.shape}".encode())
            digest.update(np.ascontiguousarray(tile.pixels).tobytes())
        return digest.hexdigest()

    def arrays(self) -> list[Array]:
        """Return the tiles as float32 [1, 3, H, W] in [0, 1]."""
        return [planes(tile.pixels) for tile in self.tiles]

    def coverage(self) -> dict[str, list[float]]:
        """Return feature -> [lowest, highest] over the tiles."""
        spans = {}
        for name in Features.__dataclass_fields__:
            values = [getattr(tile.features, name) for tile in self.tiles]
            spans[name] = [round(min(values), 4), round(max(values), 4)]
        return spans


def shipped_photos() -> list[Path]:
    """Return the photos that come with the package (public domain; see ``photos/LICENSE.txt``)."""
    from ..runtime.samples import sample_photos

    folder = Path(__file__).parent / "photos"
    own = sorted(path for path in folder.iterdir() if path.suffix in FORMATS)
    return [*sample_photos(), *own]


def find_photos(paths: Sequence[str | Path]) -> list[Path]:
    """Return the photos named, those in folders named (not below them), sorted and without repeats.

    Raises:
        CalibrationError: a path does not exist, or there is no photo at all.
    """
    files: list[Path] = []
    for entry in map(Path, paths):
        if entry.is_dir():
            files += [path for path in entry.iterdir() if path.suffix.lower() in FORMATS]
        elif entry.exists():
            files.append(entry)
        else:
            raise CalibrationError(f"{entry}: no such photo or folder")
    if not files:
        raise CalibrationError(f"no photo ({', '.join(FORMATS)}) in {', '.join(map(str, paths))}")
    return sorted(dict.fromkeys(files))


def choose(
    photos: Sequence[str | Path], size: tuple[int, int], *, count: int = DEFAULT_COUNT, seed: int = 0
) -> Samples:
    """Choose ``count`` tiles of ``size`` (height, width); equal arguments give equal tiles.

    A photo smaller than a tile is continued by its mirror image, with a warning.

    Raises:
        CalibrationError: fewer than two photos, or nothing but black in all of them.
        ImageError: a photo that cannot be read.
    """
    if len(photos) < LEAST_PHOTOS:
        raise CalibrationError(
            f"{len(photos)} photo to calibrate with: at least {LEAST_PHOTOS} are needed, and about "
            "12 different scenes are recommended; give none to use the included photos"
        )
    warnings, tiles, black, small = [], [], [], []
    if len(photos) < FEW_PHOTOS:
        warnings.append(
            f"only {len(photos)} photos: ranges cover only these scenes; brighter or more detailed photos "
            "may be clipped"
        )
    rng = np.random.default_rng(seed)
    for path in photos:
        photo = read_photo(path)
        if photo.height < size[0] or photo.width < size[1]:
            small.append(Path(path).name)
        cut = [tile for tile in _tiles(photo, Path(path).name, size, rng) if tile.pixels.max() > 255 * DARK]
        if not cut:
            black.append(Path(path).name)
        tiles += cut
    if not tiles:
        raise CalibrationError(f"all {len(photos)} photos are black: all ranges would be zero")
    if black:
        warnings.append(f"not used, all black: {_some(black)}")
    if small:
        warnings.append(
            f"smaller than a tile of {size[0]}x{size[1]}: {_some(small)}, extended by mirroring, "
            "which has smoother edges than a real photo"
        )
    chosen = _farthest(tiles, count, rng)
    if len(chosen) < count:
        warnings.append(f"the photos give only {len(chosen)} different tiles of {count} requested")
    return Samples(tuple(chosen), len(photos), len(tiles), tuple(warnings))


def noise(size: tuple[int, int], *, count: int = DEFAULT_COUNT, seed: int = 0) -> Samples:
    """Return tiles of uniform noise: what ranges must not be taken from, kept to show why."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count, *size, 3), dtype=np.uint8)
    return Samples(tuple(Tile("noise", 0, 0, p, describe(p)) for p in pixels), 0, count)


def describe(pixels: Array) -> Features:
    """Return the features of uint8 [height, width, 3]."""
    rgb = pixels.astype(np.float32) / 255
    luminance = rgb @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    high, low = rgb.max(axis=2), rgb.min(axis=2)
    saturation = np.where(high > 0, (high - low) / np.maximum(high, 1e-6), 0)
    down, across = np.diff(luminance, axis=0), np.diff(luminance, axis=1)
    gradient = math.sqrt(float((down**2).mean() + (across**2).mean()))
    return Features(float(luminance.mean()), float(saturation.mean()), gradient, _slope(luminance))


def _slope(luminance: Array) -> float:
    height, width = luminance.shape
    window = np.outer(np.hanning(height), np.hanning(width))
    power = np.abs(np.fft.rfft2((luminance - luminance.mean()) * window)) ** 2
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    ring = np.digitize(radius, edges := np.geomspace(0.02, 0.5, 9))
    x, y = [], []
    for index in range(1, len(edges)):
        inside = power[ring == index]
        if inside.size:
            x.append(math.log(math.sqrt(edges[index - 1] * edges[index])))
            y.append(math.log(float(inside.mean()) + 1e-9))
    return float(np.polyfit(x, y, 1)[0]) if len(x) > 1 else 0.0


def _tiles(photo: Photo, name: str, size: tuple[int, int], rng: Any) -> list[Tile]:
    pixels = photo.to_8bit().pixels
    missing = [max(0, want - have) for want, have in zip(size, pixels.shape, strict=False)]
    if any(missing):
        pixels = np.pad(pixels, [(0, missing[0]), (0, missing[1]), (0, 0)], mode="symmetric")
    rows, columns = pixels.shape[0] - size[0], pixels.shape[1] - size[1]
    places = {(middle_of(pixels.shape[0], size[0]).start, middle_of(pixels.shape[1], size[1]).start)}
    for _ in range(4 * CANDIDATES_PER_PHOTO):
        if len(places) >= CANDIDATES_PER_PHOTO:
            break
        places.add((int(rng.integers(rows + 1)), int(rng.integers(columns + 1))))
    tiles = []
    for top, left in sorted(places):
        tile = np.ascontiguousarray(pixels[top : top + size[0], left : left + size[1]])
        tiles.append(Tile(name, top, left, tile, describe(tile)))
    return tiles


def _farthest(tiles: list[Tile], count: int, rng: Any) -> list[Tile]:
    vectors = np.stack([tile.features.vector() for tile in tiles])
    taken = [int(rng.integers(len(tiles)))]
    distance = np.linalg.norm(vectors - vectors[taken[0]], axis=1)
    while len(taken) < min(count, len(tiles)):
        best = int(distance.argmax())
        if distance[best] == 0:
            break
        taken.append(best)
        distance = np.minimum(distance, np.linalg.norm(vectors - vectors[best], axis=1))
    return [tiles[index] for index in taken]


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
