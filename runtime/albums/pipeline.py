"""Three stages that overlap: read, work, write.

They are threads, since decoders and runtimes let go of Python's lock.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

Item = TypeVar("Item")
Loaded = TypeVar("Loaded")
Worked = TypeVar("Worked")
Result = TypeVar("Result")

_END = object()
_POLL_SECONDS = 0.2


class Stopped(Exception):
    """The run is being abandoned; a worker raises it to leave its item."""


class _Fault:
    def __init__(self, error: BaseException) -> None:
        self.error = error


def overlapped(
    items: Iterable[Item],
    read: Callable[[Item], Loaded],
    workers: Sequence[Callable[[Loaded], Worked]],
    write: Callable[[Worked], Result],
    stop: threading.Event,
) -> Iterator[Result]:
    """Take each item through three stages and yield its result, in the order in which they are finished.

    At most three items for each worker are held, whatever their number. An exception of a stage ends the run
    and is raised here. However the iteration ends, all threads have ended when it does.

    Args:
        items: what to do.
        read: first stage, in one thread.
        workers: second stage, one thread each.
        write: third stage, in as many threads.
        stop: set when the run is abandoned; a worker may look at it and raise :class:`Stopped`.
    """
    count = len(workers)
    loaded: queue.Queue[Any] = queue.Queue(count)
    worked: queue.Queue[Any] = queue.Queue(count)
    finished: queue.Queue[Any] = queue.Queue(count)

    def reading() -> None:
        for item in items:
            _put(loaded, read(item), stop)
        for _ in range(count):
            _put(loaded, _END, stop)

    def working(work: Callable[[Any], Any], taken: queue.Queue[Any], given: queue.Queue[Any]) -> None:
        while (item := _get(taken, stop)) is not _END:
            _put(given, work(item), stop)
        _put(given, _END, stop)

    def guarded(stage: Callable[..., None], *args: Any) -> None:
        try:
            stage(*args)
        except Stopped:
            pass
        except BaseException as error:
            fault = _Fault(error)
            while not stop.is_set():  # the iteration may be busy with an earlier result
                try:
                    finished.put(fault, timeout=_POLL_SECONDS)
                    return
                except queue.Full:
                    continue

    stages: list[tuple[Any, ...]] = [(reading,)]
    stages += [(working, work, loaded, worked) for work in workers]
    stages += [(working, write, worked, finished)] * count
    threads = [threading.Thread(target=guarded, args=stage) for stage in stages]
    try:
        for thread in threads:
            thread.start()
        while count:
            result = _get(finished, stop)
            if isinstance(result, _Fault):
                raise result.error
            if result is _END:
                count -= 1
            else:
                yield result
    finally:
        stop.set()
        for thread in threads:
            if thread.ident is not None:
                thread.join()


def _put(place: queue.Queue[Any], item: Any, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            place.put(item, timeout=_POLL_SECONDS)
            return
        except queue.Full:
            continue
    raise Stopped


def _get(place: queue.Queue[Any], stop: threading.Event) -> Any:
    while not stop.is_set():
        try:
            return place.get(timeout=_POLL_SECONDS)
        except queue.Empty:
            continue
    raise Stopped
