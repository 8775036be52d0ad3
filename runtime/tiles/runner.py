"""Between a tile of a photo and what a network was exported to take: float or ``uint8``, NCHW or NHWC."""

from __future__ import annotations

import numpy as np

from ..artifact import Artifact
from ..errors import BadInputError, CheckFailedError
from ..photo import Array
from ..pixels import in_channels
from ..sessions.base import Session
from ..tensors import described


class TileRunner:
    """Runs a session on tiles of a photo.

    A ``uint8`` network sees a 16-bit photo rounded to 8 bits. What it changed is then added to the 16-bit
    tile, so the fine tones of the photo stay even though the network never saw them.
    """

    def __init__(self, session: Session) -> None:
        """Check that the session maps one picture to one that is as large, or a whole number of times.

        Raises:
            BadInputError: it does something else.
        """
        self.scale = photo_scale(session.artifact)
        self.session = session
        self.tile = session.input.size
        self._buffer = np.empty(session.input.shape, session.input.dtype)

    def __call__(self, tile: Array) -> Array:
        """Return the network's result for a ``uint8`` or ``uint16`` tile (height x width x 3).

        Returns:
            float32, 3 x (scale x height) x (scale x width), from 0 to 1 (white).

        Raises:
            CheckFailedError: the network returned NaN or infinity.
        """
        taken, given = self.session.input, self.session.output
        white = int(np.iinfo(tile.dtype).max)
        inside = self._buffer[0].transpose(1, 2, 0) if taken.layout == "NCHW" else self._buffer[0]
        tile = in_channels(tile, taken.channels, white)
        if taken.dtype == "uint8":
            inside[...] = tile if white == 255 else (tile.astype(np.uint32) + 128) // 257
        else:
            np.divide(tile, np.float32(white), out=inside, dtype=np.float32)
            _from_unit(inside, taken.limits)
        result = self.session.run(self._buffer)[0]
        planes = result if given.layout == "NCHW" else result.transpose(2, 0, 1)
        shown: Array = planes.astype(np.float32, order="C")  # a copy, to work on
        if given.dtype == "uint8":
            shown /= np.float32(255)
            if white != 255 and taken.dtype == "uint8" and self.scale == 1 and given.shape == taken.shape:
                seen = inside.transpose(2, 0, 1) / np.float32(255)
                shown += tile.transpose(2, 0, 1) / np.float32(white) - seen
        else:
            _to_unit(shown, given.limits)
            if not np.isfinite(shown.sum(dtype=np.float64)):
                raise CheckFailedError(
                    f"{self.session.artifact.path}: the network returned values that are not finite numbers; "
                    "verify the artifact, or export it with a higher precision"
                )
        np.clip(shown, 0, 1, out=shown)
        if shown.shape[0] == 1:
            return np.broadcast_to(shown, (3, *shown.shape[1:]))
        return shown[:3]


def photo_scale(artifact: Artifact) -> int:
    """Return how many times as large as a photo the result of an artifact is, along each side.

    Raises:
        BadInputError: it does not map one picture to one of the same size, or a whole number of times as
            large.
    """
    passport = artifact.passport
    if not passport.maps_pictures:
        raise BadInputError(
            f"{artifact.path}: takes {described(passport.inputs)} and returns "
            f"{described(passport.outputs)}; a photo goes through networks from one picture in colours to "
            "another only"
        )
    taken, given = passport.input.size, passport.output.size
    scale = given[0] // taken[0]
    if given != (taken[0] * scale, taken[1] * scale) or not scale:
        raise BadInputError(
            f"{artifact.path}: turns {taken[0]}x{taken[1]} into {given[0]}x{given[1]}; results of the same "
            "size or a whole number of times as large can be put together from tiles"
        )
    return scale


def _from_unit(values: Array, limits: tuple[float, float]) -> None:
    """Stretch values from 0..1 to the limits, in place."""
    if limits != (0.0, 1.0):
        values *= np.float32(limits[1] - limits[0])
        values += np.float32(limits[0])


def _to_unit(values: Array, limits: tuple[float, float]) -> None:
    """Bring values from the limits to 0..1, in place."""
    if limits != (0.0, 1.0):
        values -= np.float32(limits[0])
        values /= np.float32(limits[1] - limits[0])
