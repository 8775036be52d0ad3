"""Cut a photo of any size into tiles of one size, and blend the results without seams.

Along each axis the tiles are spread evenly over multiples of the alignment, each overlapping the next by at
least twice the halo. In the middle of an overlap the weight passes from one tile to the next along a raised
cosine two halos wide, so what a network does near the edge of its tile counts little or nothing. Beyond the
photo lies its mirror image.

The weights of all tiles over a pixel add up to exactly 1, not nearly: each is a multiple of 1/4096, products
of two are multiples of 2**-24, and float32 adds those without rounding. So a network that changes nothing
gives the photo back bit for bit.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ..errors import BadInputError
from ..photo import Array
from .ordered import in_order

_STEPS = 4096


@dataclasses.dataclass(frozen=True)
class Axis:
    """How one side of a photo is cut.

    Attributes:
        length: pixels of the photo along this axis.
        tile: pixels of a tile.
        halo: half the width of a blend between two tiles.
        align: every tile begins at a multiple of this many pixels.
        starts: where each tile begins; negative where it begins before the photo.
    """

    length: int
    tile: int
    halo: int
    align: int
    starts: tuple[int, ...]

    @classmethod
    def plan(cls, length: int, tile: int, halo: int, border: int = 0, align: int = 1) -> Axis:
        """Spread as few tiles as possible over ``length`` pixels.

        Args:
            length: pixels of the photo along this axis.
            tile: pixels of a tile.
            halo: half the width of a blend between two tiles.
            border: least number of pixels of mirror image to take in beyond each end. A photo that fits one
                tile is laid in its middle instead.
            align: begin tiles at multiples of this. A network that halves its picture k times sees another
                picture when it moves by less than 2**k pixels; aligned, two tiles agree where they overlap.

        Raises:
            BadInputError: a length below 1, or a halo or border that leaves a tile nothing of its own.
        """
        if length < 1 or tile < 1 or align < 1:
            raise BadInputError(f"cannot cut {length} pixels into tiles of {tile} aligned to {align}")
        most = max((tile - align) // 2, 0)
        if not 0 <= halo <= most:
            raise BadInputError(f"halo {halo}: expected 0 to {most} for tiles of {tile} pixels")
        if not 0 <= border <= tile - align:
            raise BadInputError(f"border {border}: expected 0 to {tile - align} for tiles of {tile} pixels")
        if length <= tile:
            return cls(length, tile, halo, align, (-((tile - length + align) // (2 * align) * align),))
        first = -border // align * align
        units = -(-(length + border - tile - first) // align)  # from the first start to the last
        gaps = -(-units // ((tile - 2 * halo) // align))
        return cls(
            length, tile, halo, align, tuple(first + i * units // gaps * align for i in range(gaps + 1))
        )

    @property
    def ramps(self) -> tuple[int, ...]:
        """Where the blend from each tile to the next begins; two halos further it is over."""
        return tuple((a + self.tile + b) // 2 - self.halo for a, b in itertools.pairwise(self.starts))

    def shifted(self) -> Axis:
        """Return the cut whose tiles lie half a step further, so that blends lie where none did."""
        if len(self.starts) == 1:
            return self
        step = max(b - a for a, b in itertools.pairwise(self.starts))
        half = step // 2 // self.align * self.align or step // 2
        moved = [start - half for start in (*self.starts, self.starts[-1] + step)]
        inside = tuple(start for start in moved if -self.tile < start < self.length)
        return dataclasses.replace(self, starts=inside)

    def scaled(self, scale: int) -> Axis:
        """Return the cut of the result of a network that enlarges its picture ``scale`` times."""
        starts = tuple(start * scale for start in self.starts)
        return Axis(self.length * scale, self.tile * scale, self.halo * scale, self.align * scale, starts)

    def weights(self, index: int) -> Array:
        """Return the weight of tile ``index`` over its own pixels, float32 multiples of 1/4096."""
        positions = np.arange(self.tile) + self.starts[index]
        ramps = self.ramps
        before = self._passed(ramps[index - 1], positions) if index > 0 else np.full(self.tile, _STEPS)
        after = self._passed(ramps[index], positions) if index < len(ramps) else np.zeros(self.tile, int)
        weights: Array = ((before - after) / _STEPS).astype(np.float32)
        return weights

    def _passed(self, ramp: int, positions: Array) -> Array:
        """How much of the blend that begins at ``ramp`` is behind each position, in 1/4096."""
        if self.halo == 0:
            return np.where(positions >= ramp, _STEPS, 0)
        share = np.clip((positions - ramp + 0.5) / (2 * self.halo), 0, 1)
        passed: Array = np.rint(_STEPS * (0.5 - 0.5 * np.cos(np.pi * share))).astype(int)
        return passed


@dataclasses.dataclass(frozen=True)
class Grid:
    """How a photo is cut: ``rows`` along its height, ``columns`` along its width."""

    rows: Axis
    columns: Axis

    @classmethod
    def plan(
        cls, size: tuple[int, int], tile: tuple[int, int], halo: int, border: int = 0, align: int = 1
    ) -> Grid:
        """Cut a photo of ``size`` (height, width) into tiles; see :meth:`Axis.plan`."""
        rows, columns = (Axis.plan(size[i], tile[i], halo, border, align) for i in (0, 1))
        return cls(rows, columns)

    def shifted(self) -> Grid:
        """Return the grid half a step down and to the right."""
        return Grid(self.rows.shifted(), self.columns.shifted())

    def scaled(self, scale: int) -> Grid:
        """Return the grid of a result that is ``scale`` times as large."""
        return self if scale == 1 else Grid(self.rows.scaled(scale), self.columns.scaled(scale))

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return len(self.rows.starts) * len(self.columns.starts)


@dataclasses.dataclass(frozen=True)
class Tiling:
    """How photos of any size are cut into tiles of one size.

    Attributes:
        tile: height and width of a tile, in pixels.
        halo: half the width of the blend between two tiles, in pixels.
        border: how far tiles reach beyond the photo's edge, into its mirror image, in pixels.
        align: tiles begin at multiples of this many pixels.
    """

    tile: tuple[int, int]
    halo: int
    border: int
    align: int

    @classmethod
    def of(
        cls,
        tile: tuple[int, int],
        halo: int | None = None,
        border: int | None = None,
        align: int | None = None,
    ) -> Tiling:
        """Fill in what is ``None``: a halo of an eighth of the tile, a border as wide as the halo, and an
        alignment of 32, or less where tiles are small or no multiple of it."""
        halo = min(tile) // 8 if halo is None else halo
        border = halo if border is None else border
        return cls(tile, halo, border, _alignment(tile) if align is None else align)

    def grid(self, height: int, width: int) -> Grid:
        """Return how a photo of that size is cut; raises as :meth:`Axis.plan`."""
        return Grid.plan((height, width), self.tile, self.halo, self.border, self.align)


def _alignment(tile: tuple[int, int]) -> int:
    align = math.gcd(*tile, 32)
    while align > 1 and 8 * align > min(tile):  # a coarse grid leaves small tiles no freedom
        align //= 2
    return align


def blend(
    pixels: Array, grid: Grid, processes: Sequence[Callable[[Array], Array]], scale: int = 1
) -> Iterator[tuple[int, Array]]:
    """Run every tile of ``pixels`` through one of ``processes``; yield the blended result from top to bottom.

    Only one row of tiles is held, whatever the height of the photo, and two more tiles for each process.

    Args:
        pixels: height x width x channels.
        grid: the cut, made for that height and width.
        processes: do the same, each in a thread. One takes a tile of ``pixels`` (which it must not change)
            and returns its result as float32 channels x height x width, which a network gives and which
            blends faster; three channels. The result does not depend on which of them ran which tile.
        scale: how many times as large as its tile the result of a process is.

    Yields:
        The first row and the rows themselves, float32 channels x rows x width, of each finished band. The
        array is used again for the next band: take what is needed before going on.
    """
    taken, given = grid, grid.scaled(scale)
    rows, columns = given.rows, given.columns
    band = np.zeros((pixels.shape[2], rows.tile, columns.length), np.float32)
    across = [columns.weights(index) for index in range(len(columns.starts))]

    def cutting(process: Callable[[Array], Array]) -> Callable[[tuple[int, int]], Array]:
        return lambda corner: process(_cut(pixels, *corner, taken.rows.tile, taken.columns.tile))

    corners = itertools.product(taken.rows.starts, taken.columns.starts)
    ahead = in_order(corners, [cutting(process) for process in processes])
    for index, top in enumerate(rows.starts):
        down = rows.weights(index)
        for left, weight in zip(columns.starts, across, strict=True):
            result = next(ahead)
            begin, end = max(left, 0), min(left + columns.tile, columns.length)
            own = slice(begin - left, end - left)
            band[:, :, begin:end] += result[:, :, own] * (down[:, None] * weight[own])
        done = rows.starts[index + 1] - top if index + 1 < len(rows.starts) else rows.tile
        first, last = max(top, 0), min(top + done, rows.length)
        if first < last:
            yield first, band[:, first - top : last - top]
        band[:, : rows.tile - done] = band[:, done:]
        band[:, rows.tile - done :] = 0


def _cut(pixels: Array, top: int, left: int, height: int, width: int) -> Array:
    """Return a tile; beyond the edges of the photo, what a mirror there would show."""
    limit_y, limit_x = pixels.shape[:2]
    if top >= 0 and left >= 0 and top + height <= limit_y and left + width <= limit_x:
        return pixels[top : top + height, left : left + width]
    down, across = _mirror(top, height, limit_y), _mirror(left, width, limit_x)
    near = pixels[down.min() : down.max() + 1, across.min() : across.max() + 1]
    tile: Array = near.take(down - down.min(), axis=0).take(across - across.min(), axis=1)
    return tile


def _mirror(start: int, count: int, length: int) -> Array:
    if length == 1:
        return np.zeros(count, int)
    period = 2 * (length - 1)
    index = np.abs(np.arange(start, start + count)) % period
    return np.where(index < length, index, period - index)
