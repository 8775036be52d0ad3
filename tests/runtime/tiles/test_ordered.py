"""Results come in the order of their tasks, from all workers, with few of them held, and no thread stays."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator

import pytest
from fdikp_edge.runtime.tiles.ordered import in_order


@pytest.mark.parametrize("count", [1, 2, 5])
def test_order_and_bound(count: int) -> None:
    begun: list[int] = []
    busy = [0] * count
    most = 0

    def tasks() -> Iterator[int]:
        for task in range(60):
            begun.append(task)
            yield task

    def worker(index: int) -> object:
        def run(task: int) -> int:
            nonlocal most
            busy[index] += 1
            assert busy[index] == 1, "a worker runs one task at a time"
            most = max(most, sum(busy))
            time.sleep(random.Random(task).random() / 500)
            busy[index] -= 1
            return task * task

        return run

    yielded = []
    for result in in_order(tasks(), [worker(index) for index in range(count)]):  # type: ignore[misc]
        yielded.append(result)
        assert len(begun) - len(yielded) <= 2 * count - 1
    assert yielded == [task * task for task in range(60)]
    assert most == count, "all workers run at once"


def test_a_fault_or_a_caller_that_leaves_ends_all_threads() -> None:
    before = threading.active_count()

    def fail(task: int) -> int:
        if task == 5:
            raise RuntimeError("five")
        return task

    with pytest.raises(RuntimeError, match="five"):
        list(in_order(range(1000), [fail, fail]))
    results = in_order(range(1000), [abs, abs])
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
