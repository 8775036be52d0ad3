"""Items go through three stages that overlap, each once, and no thread outlives the iteration."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from fdikp_edge.runtime.albums.pipeline import overlapped


def same(item: int) -> int:
    return item


@pytest.mark.parametrize("workers", [1, 3])
def test_each_item_once(workers: int) -> None:
    results = overlapped(range(50), lambda x: x + 1, [same] * workers, lambda x: 2 * x, threading.Event())
    assert sorted(results) == [2 * (x + 1) for x in range(50)]


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_a_fault_of_any_stage_ends_the_run_and_its_threads(stage: int) -> None:
    def fail(item: int) -> int:
        if item == 5:
            raise RuntimeError("five")
        return item

    stages: list[Callable[[int], int]] = [same, same, same]
    stages[stage] = fail
    before = threading.active_count()
    with pytest.raises(RuntimeError, match="five"):
        list(overlapped(range(1000), stages[0], [stages[1]] * 2, stages[2], threading.Event()))
    assert threading.active_count() == before


def test_leaving_early_ends_the_threads_and_little_was_read() -> None:
    taken: list[int] = []
    before = threading.active_count()
    run = overlapped(range(10_000), lambda x: taken.append(x) or x, [same] * 2, same, threading.Event())
    next(run)
    run.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
    assert len(taken) < 30


def test_stages_overlap() -> None:
    def slow(item: int) -> int:
        time.sleep(0.02)
        return item

    began = time.monotonic()
    list(overlapped(range(20), slow, [slow], slow, threading.Event()))
    assert time.monotonic() - began < 0.9 * 20 * 3 * 0.02
