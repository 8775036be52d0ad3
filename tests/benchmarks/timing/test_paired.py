"""Old against new on a simulated machine: its clock moves by what calls cost, and its load wanders."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from fdikp_edge.benchmarks.timing.paired import Call, Comparison, compare, interval, t_quantile


class Machine:
    """A machine with other things to do. ``jitter`` is the usual spread of a call, in parts of it."""

    def __init__(self, seed: int, jitter: float = 0.03) -> None:
        self.random = np.random.default_rng(seed)
        self.jitter = jitter
        self.now = 0.0
        self.load = 1.0

    def opener(self, cost: float) -> Callable[[], contextlib.AbstractContextManager[Call]]:
        """A model of ``cost`` seconds, whose place in memory is worth a per cent each time it is opened."""

        @contextlib.contextmanager
        def opened() -> Iterator[Call]:
            place = 1 + 0.01 * self.random.standard_normal()
            self.now += 0.5

            def call() -> None:
                self.load = min(3.0, max(1.0, self.load * math.exp(0.03 * self.random.standard_normal())))
                burst = 1 + (self.random.random() < 0.05) * self.random.exponential(1.0)
                noise = math.exp(abs(self.jitter * self.random.standard_normal()))
                self.now += cost * place * self.load * burst * noise

            yield call

        return opened

    def compare(self, ratio: float, cost: float = 0.1, **options: float) -> Comparison:
        return compare(
            self.opener(cost), self.opener(cost * ratio), clock=lambda: self.now, seed=0, **options
        )


def test_twenty_clean_reruns_raise_no_false_alarm() -> None:
    verdicts = [Machine(seed).compare(1.0).verdict for seed in range(20)]
    assert "slower" not in verdicts
    assert verdicts.count("no slower") >= 17


def test_a_slowdown_of_five_per_cent_never_passes_and_is_mostly_proven() -> None:
    comparisons = [Machine(100 + seed).compare(1.05) for seed in range(12)]
    verdicts = [one.verdict for one in comparisons]
    assert "no slower" not in verdicts
    assert verdicts.count("slower") >= 9
    assert all(1.0 < one.low < one.ratio < one.high for one in comparisons if one.verdict == "slower")


def test_a_large_slowdown_is_proven_at_the_first_look() -> None:
    comparison = Machine(0).compare(1.5)
    assert comparison.verdict == "slower" and comparison.blocks == 6
    assert comparison.ratio == pytest.approx(1.5, rel=0.05)


def test_what_is_a_thousand_times_as_slow_does_not_take_a_thousand_times_as_long() -> None:
    comparison = Machine(0).compare(1000.0, cost=1e-4)
    assert comparison.verdict == "slower" and comparison.seconds < 60


def test_a_timer_that_stands_still_does_not_take_for_ever() -> None:
    machine = Machine(0)
    comparison = compare(
        machine.opener(0.02), machine.opener(0.02), clock=lambda: machine.now, timer=lambda: 0.0
    )
    assert comparison.seconds < 120


def test_faster_is_no_slower() -> None:
    assert Machine(1).compare(0.8).verdict == "no slower"


def test_a_machine_too_noisy_for_an_answer_gets_none() -> None:
    comparison = Machine(2, jitter=0.5).compare(1.05, max_seconds=30.0)
    assert comparison.verdict == "undecided"
    assert comparison.low < 1.05 < comparison.high or comparison.low < 1


def test_time_is_kept() -> None:
    assert Machine(3, jitter=0.5).compare(1.0, cost=0.2, max_seconds=20.0).seconds <= 25.0


def test_a_single_block_is_undecided_and_plain_json() -> None:
    comparison = Machine(5).compare(1.0, cost=1.0, max_seconds=1.0)
    assert comparison.verdict == "undecided" and comparison.blocks == 1
    assert comparison.to_dict()["high"] is None and "1 of at least" in str(comparison)
    json.dumps(comparison.to_dict(), allow_nan=False)


def test_short_calls_are_repeated() -> None:
    comparison = Machine(4).compare(1.5, cost=1e-3)
    assert comparison.verdict == "slower"
    assert comparison.old_ms == pytest.approx(1.0, rel=1.0)


def test_waiting_in_slices_does_not_make_a_slow_call_look_fast() -> None:
    """A processor shared with two others, eight milliseconds for each: most calls of six wait once."""
    for seed in range(4):
        now, random = [0.0], np.random.default_rng(seed)

        def opener(cost: float, now: list[float] = now, random: Any = random) -> Any:
            @contextlib.contextmanager
            def opened() -> Iterator[Call]:
                left = [random.uniform(0, 0.008)]

                def call() -> None:
                    work = cost
                    while work > left[0]:
                        now[0] += left[0] + random.uniform(0.0155, 0.0165)
                        work, left[0] = work - left[0], 0.008
                    now[0] += work
                    left[0] -= work

                yield call

            return opened

        comparison = compare(opener(0.006), opener(0.0063), clock=lambda now=now: now[0])  # type: ignore[misc]
        assert comparison.verdict == "slower", str(comparison)


def test_a_limit_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="above 1"):
        Machine(0).compare(1.0, limit=1.0)


@pytest.mark.parametrize(
    ("share", "freedom", "expected"),
    [(0.975, 5, 2.5706), (0.995, 9, 3.2498), (0.9995, 5, 6.8688), (0.975, 1000, 1.9623), (0.75, 1, 1.0)],
)
def test_quantiles_are_those_of_the_tables(share: float, freedom: int, expected: float) -> None:
    assert t_quantile(share, freedom) == pytest.approx(expected, rel=1e-3)


def test_the_interval_covers_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    inside, runs = 0, 150
    for _ in range(runs):
        blocks = [list(0.02 * random.standard_normal() + 0.05 * random.standard_normal(8)) for _ in range(7)]
        _, low, high = interval(blocks, 0.9)
        inside += low <= 1.0 <= high
    assert inside / runs > 0.85


def test_blocks_of_several_sizes_count_as_they_are() -> None:
    middle, low, high = interval([[0.1] * 3, [0.1] * 12, [0.1] * 5], 0.99)
    assert (low, high) == (pytest.approx(middle), pytest.approx(middle)) and middle == pytest.approx(
        math.exp(0.1)
    )
    _, low, high = interval([[0.0] * 3, [0.1] * 12, [0.2] * 5], 0.99)
    assert low < math.exp(0.1) < high


def test_a_spread_beyond_all_numbers_is_no_knowledge() -> None:
    assert interval([[-5.0, -5.0, -5.0], [9.0, 9.0, 9.0]], 1 - 1e-9)[1:] == (0.0, math.inf)


def test_one_block_says_nothing() -> None:
    assert interval([[0.1, 0.2, 0.3]], 0.99) == (pytest.approx(math.exp(0.2)), 0.0, math.inf)
