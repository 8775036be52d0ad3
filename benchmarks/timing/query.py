"""The query that a profile times: from 8-bit pixels, or from tensors, with the clocks that a session has."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping

import numpy as np

from ...runtime.photo import Array
from ...runtime.pixels import picture
from ...runtime.sessions import Session
from ...runtime.sessions.base import Arrays
from ...runtime.tiles.runner import TileRunner


def timed_query(session: Session, inputs: Mapping[str, Array]) -> Callable[[], Mapping[str, float]]:
    """Return a query that reports the milliseconds of every clock the session has.

    Of a network from picture to picture it begins and ends with 8-bit pixels, of any other with its tensors.
    """
    timed = _Timed(session)
    run: Callable[[], object] = functools.partial(timed.run, inputs)
    if session.artifact.passport.maps_pictures:
        run = functools.partial(TileRunner(timed), tile_of(session, inputs))

    def query() -> Mapping[str, float]:
        began = time.perf_counter()
        run()
        took = {"end_to_end": (time.perf_counter() - began) * 1e3, "result": timed.result_ms}
        kernel = getattr(session, "kernel_ms", None)  # a session on a device that keeps its own time
        return took if kernel is None else {**took, "kernel": float(kernel)}

    return query


def tile_of(session: Session, inputs: Mapping[str, Array]) -> Array:
    """Return the recorded input of a network from picture to picture as 8-bit pixels, height x width x 3."""
    (array,) = inputs.values()
    pixels = picture(array, session.input)
    return pixels[..., :3] if pixels.shape[2] >= 3 else np.repeat(pixels, 3, axis=2)


class _Timed(Session):
    """A session that notes how long each run took; all else is the other's."""

    def __init__(self, session: Session) -> None:
        super().__init__(session.artifact, session.threads)
        self.result_ms = 0.0
        self._session = session

    def _run(self, arrays: Arrays) -> Arrays:
        began = time.perf_counter()
        result = self._session.run(arrays)
        self.result_ms = (time.perf_counter() - began) * 1e3
        return result

    def describe(self) -> dict[str, str | int]:
        return self._session.describe()

    def close(self) -> None:
        """Nothing: whoever opened the session closes it."""
