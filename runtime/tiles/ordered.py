"""Several workers at once on one sequence of tasks, with the results in its order."""

from __future__ import annotations

import itertools
import queue
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent import futures
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


def in_order(tasks: Iterable[Task], workers: Sequence[Callable[[Task], Result]]) -> Iterator[Result]:
    """Yield the result of each task, in the order of the tasks, while later ones are computed in threads.

    With n workers, at most 2n - 1 tasks are begun and not yielded: a worker need not wait for a slower one.
    An exception of a worker is raised here. All threads have ended when the iteration is over, or given up.

    Args:
        tasks: what to do; taken in the caller's thread.
        workers: each runs one task at a time, in some thread.
    """
    idle: queue.SimpleQueue[Callable[[Task], Result]] = queue.SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def run(task: Task) -> Result:
        worker = idle.get()  # never waits: there are as many threads as workers
        try:
            return worker(task)
        finally:
            idle.put(worker)

    waiting = iter(tasks)
    with futures.ThreadPoolExecutor(len(workers), "tile") as threads:
        running = deque(threads.submit(run, task) for task in itertools.islice(waiting, 2 * len(workers) - 1))
        try:
            while running:
                result = running.popleft().result()
                running.extend(threads.submit(run, task) for task in itertools.islice(waiting, 1))
                yield result
        finally:
            for future in running:
                future.cancel()
