"""Reads sensors during a measurement, in a separate thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType

from .reading import Reading


class Sampler:
    """Reads every ``interval_s`` from entering to leaving the block; ``readings`` holds what came, in order.

    Times count from entering, on the same clock as ``time.perf_counter``; ``origin`` is that moment. A
    reading that says nothing is not kept.
    """

    def __init__(self, read: Callable[[], Reading], interval_s: float = 0.5) -> None:
        """Plan to call ``read``, from the sampler's thread alone."""
        self.readings: list[Reading] = []
        self.origin = 0.0
        self._read = read
        self._interval = interval_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Sampler:
        """Start."""
        self.origin = time.perf_counter()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, after one last reading."""
        self._done.set()
        self._thread.join()
        self._once()

    def between(self, start_s: float, end_s: float) -> list[Reading]:
        """Return the readings of a stretch of time."""
        return [reading for reading in self.readings if start_s <= reading.time_s <= end_s]

    def _follow(self) -> None:
        while True:
            self._once()
            if self._done.wait(self._interval):
                return

    def _once(self) -> None:
        reading = self._read()
        if reading != Reading():
            self.readings.append(reading.at(time.perf_counter() - self.origin))
