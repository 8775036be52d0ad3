"""One photo through one session: any size, either depth, in bounded memory, enlarged or not."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from .errors import BadInputError
from .photo import Array, Photo
from .sessions.base import Session
from .tiles.runner import TileRunner
from .tiles.seams import SeamReport, compare
from .tiles.tiling import Grid, Tiling, blend


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a run is: ``tile`` of ``tiles`` of photo number ``photo`` (from 0) of ``photos``."""

    tile: int
    tiles: int
    photo: int = 0
    photos: int = 1
    source: Path | None = None


ProgressCallback = Callable[[Progress], None]
"""Called before the first tile of a photo and after each, by one thread at a time.

An exception it raises ends the run cleanly."""


class Deblurrer:
    """Runs photos of any size through a session of one size, such as a deblurring network.

    Attributes:
        session: the opened artifact, which stays the caller's to close.
        sessions: all sessions, that one first.
        halo: half the width of the blend between two tiles, in pixels.
        border: how far tiles reach beyond the photo's edge, into its mirror image, in pixels.
        align: tiles begin at multiples of this many pixels.
    """

    def __init__(
        self,
        session: Session,
        *,
        halo: int | None = None,
        border: int | None = None,
        align: int | None = None,
        progress: ProgressCallback | None = None,
        beside: Sequence[Session] = (),
    ) -> None:
        """Take a session.

        Args:
            session: maps one picture to one of the same size, or a whole number of times as large.
            beside: further sessions of the same artifact. The tiles of a photo then run on all of them at
                once, with the same result.
            halo: an eighth of the tile when ``None``. More halo hides seams better and costs time: tiles
                overlap by two of them.
            border: as the halo when ``None``. A photo that fits one tile has none.
            align: when ``None``, 32, or less where tiles are small or no multiple of it. To be a multiple of
                how much the network shrinks its picture inside, so that neighbouring tiles agree.
            progress: called before the first and after each tile.

        Raises:
            BadInputError: the session does something else, a session of another artifact, or a halo of half a
                tile or more.
        """
        self.session, self.sessions = session, (session, *beside)
        if any(one.artifact.path != session.artifact.path for one in beside):
            raise BadInputError("the tiles of a photo go through sessions of one artifact")
        self._runs = [TileRunner(one) for one in self.sessions]
        self._tile, self._scale = self._runs[0].tile, self._runs[0].scale
        tiling = Tiling.of(self._tile, halo, border, align)
        self.halo, self.border, self.align = tiling.halo, tiling.border, tiling.align
        self.progress = progress
        self.grid(1, 1)  # refuses a wrong halo here rather than at the first photo

    def grid(self, height: int, width: int) -> Grid:
        """Return how a photo of that size is cut."""
        return Tiling(self._tile, self.halo, self.border, self.align).grid(height, width)

    def photo(self, photo: Photo) -> Photo:
        """Return the photo as the network makes it, with the same depth, transparency and metadata.

        A network with one channel makes a grey photo. Beside the photo and its result, only one row of tiles
        is held in memory, and two more tiles for each session.

        Raises:
            CheckFailedError: the network returned NaN or infinity.
        """
        grid = self.grid(photo.height, photo.width)
        grey, scale = photo.grey or self.session.output.channels == 1, self._scale
        height, width = photo.height * scale, photo.width * scale
        result = np.empty((height, width, 1 if grey else 3), photo.pixels.dtype)
        white = np.float32(photo.white)
        for first, rows in blend(photo.pixels, grid, self._counting(grid, photo.source), scale):
            shown = rows.mean(axis=0, keepdims=True) if grey else rows
            result[first : first + rows.shape[1]] = np.rint(shown * white).transpose(1, 2, 0)
        pixels = np.broadcast_to(result, (height, width, 3)) if grey else result
        return _enlarged(dataclasses.replace(photo, grey=grey), pixels, scale)

    def seam_report(self, photo: Photo) -> SeamReport:
        """Measure the seams in a photo: run it with the tiles here and half a step further, and compare.

        Holds two float32 results of the whole photo; meant for photos of a few megapixels.
        """
        grid = self.grid(photo.height, photo.width)
        here, there = self._whole(photo, grid), self._whole(photo, grid.shifted())
        return compare(here, there, grid.scaled(self._scale))

    def _whole(self, photo: Photo, grid: Grid) -> Array:
        scale = self._scale
        result = np.empty((photo.height * scale, photo.width * scale, 3), np.float32)
        for first, rows in blend(photo.pixels, grid, self._counting(grid, photo.source), scale):
            result[first : first + rows.shape[1]] = rows.transpose(1, 2, 0)
        return result

    def _counting(self, grid: Grid, source: Path | None) -> Sequence[Callable[[Array], Array]]:
        """Return the tile runners with the progress callback around them."""
        progress = self.progress
        if progress is None:
            return self._runs
        done, one_at_a_time = 0, threading.Lock()
        progress(Progress(done, grid.tiles, source=source))

        def counting(run: TileRunner) -> Callable[[Array], Array]:
            def counted(tile: Array) -> Array:
                nonlocal done
                result = run(tile)
                with one_at_a_time:
                    done += 1
                    progress(Progress(done, grid.tiles, source=source))
                return result

            return counted

        return [counting(run) for run in self._runs]


def _enlarged(photo: Photo, pixels: Array, scale: int) -> Photo:
    """Return the photo with pixels ``scale`` times as many along each side, and with what belongs to them."""
    if scale == 1:
        return photo.with_pixels(pixels)
    alpha = None if photo.alpha is None else photo.alpha.repeat(scale, axis=0).repeat(scale, axis=1)
    dpi = None if photo.dpi is None else (photo.dpi[0] * scale, photo.dpi[1] * scale)
    return dataclasses.replace(photo, pixels=pixels, alpha=alpha, dpi=dpi)
