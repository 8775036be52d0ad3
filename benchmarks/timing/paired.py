"""Is the new one slower than the old? Measured by turns in one run, until the answer is certain.

A machine that does other things makes every timing too long by an amount that changes from second to second,
so two figures from two runs say nothing about five per cent. Four things make the question answerable:

- *Pairs.* Old and new are called right after each other, in random order, and only the ratio of the two times
  counts: what else the machine does meets both.
- *Long visits.* Waiting for a processor comes in slices of some milliseconds. What is called takes many of
  them, or is called many times in a row, so that more work means more waiting too.
- *Blocks.* Both are opened anew for each block of pairs. Where in memory a model lands makes it faster or
  slower by a per cent or two for as long as it is open; a single opening would take that for the model's own.
- *An interval, and patience.* Blocks are added until a confidence interval of the ratio leaves out either "no
  slower" or "slower by the limit", or until the time is up; then the answer is that there is none.

The interval comes from resampling blocks, and pairs within them (a two-stage bootstrap of the mean log ratio
between the quartiles), widened by Student's t for the number of blocks: with few clusters a plain percentile
interval is too narrow (Hesterberg, "What Teachers Should Know About the Bootstrap", 2015, section 4).
"""

from __future__ import annotations

import functools
import math
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ...runtime.photo import Array
from .latency import seconds_of

Call = Callable[[], object]
Open = Callable[[], AbstractContextManager[Call]]
Verdict = Literal["no slower", "slower", "undecided"]

CONFIDENCE = 0.995
"""Of the interval, looked at after every block from the sixth on."""
FIRST_LOOK = 6
MOST_BLOCKS = 200
LEAST_PAIRS, MOST_PAIRS = 3, 12
VISIT_SECONDS = 0.1
"""Shorter calls are repeated until they take this long. A busy scheduler gives the processor away for some
milliseconds at a time: a call of as many waits once or twice, whatever work it does, which would make a
slow one look as fast as another; over many such slices, waiting grows with the work."""
WARMUP = 2
BLOCK_SECONDS = (2.0, 6.0)
"""Least and most that the pairs of a block should take; within that, twice as long as it took to open both.
More blocks are worth more than longer ones, where opening is cheap."""
RESAMPLES = 2000


@dataclass(frozen=True)
class Comparison:
    """``ratio`` is new over old, the middle of all pairs; ``low`` to ``high`` its confidence interval."""

    verdict: Verdict
    ratio: float
    low: float
    high: float
    limit: float
    blocks: int
    pairs: int
    old_ms: float
    new_ms: float
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, rounded to what was measured; a bound that is infinite is ``null``."""
        fields: dict[str, Any] = {}
        for key, value in vars(self).items():
            finite = not isinstance(value, float) or math.isfinite(value)
            fields[key] = (round(value, 4) if isinstance(value, float) else value) if finite else None
        return fields

    def __str__(self) -> str:
        """Return the ratio with its interval, and the times, as text."""
        middle, low, high = (f"{100 * (value - 1):+.1f}" for value in (self.ratio, self.low, self.high))
        # A handful of blocks gives an interval that is right, and says nothing.
        too_few = f"{self.blocks} of at least {FIRST_LOOK} blocks: too few for an interval"
        bounds = f"({low} to {high})" if self.high < 10 else f"({too_few})"
        return f"{middle} % {bounds}, {self.old_ms:.2f} to {self.new_ms:.2f} ms in {self.pairs} pairs"


def compare(
    old: Open,
    new: Open,
    *,
    limit: float = 1.05,
    confidence: float = CONFIDENCE,
    max_seconds: float = 120.0,
    clock: Callable[[], float] = time.perf_counter,
    timer: Callable[[], float] | None = None,
    seed: int = 0,
    progress: Callable[[int, str], None] | None = None,
) -> Comparison:
    """Measure by turns until it is certain whether ``new`` is slower than ``old``.

    Args:
        old: opens what was there before, anew each time: a context manager that gives the call to time.
        new: the same for what replaces it.
        limit: the ratio that must be noticed, above 1.
        confidence: of the interval.
        max_seconds: give up after this long; at least one block is measured.
        clock: seconds, for ``max_seconds``.
        timer: seconds, for the calls; ``clock`` when ``None``. ``time.process_time`` is blind to waiting, and
            so to what else a machine does.
        seed: of the random order.
        progress: called with (blocks so far, text of the ratio so far).

    Returns:
        ``no slower`` where the interval ends below the limit, ``slower`` where it lies above 1 and its middle
        nearer to the limit than to 1, and ``undecided`` where the time was not enough.
    """
    if not limit > 1:
        raise ValueError(f"the limit must be above 1, got {limit}")
    order = np.random.default_rng(seed)
    began = clock()
    blocks: list[list[float]] = []
    times: dict[str, list[float]] = {"old": [], "new": []}
    while True:
        blocks.append(_block({"old": old, "new": new}, order, clock, timer or clock, times))
        ratio, low, high = interval(blocks, confidence)
        verdict: Verdict = "undecided"
        if len(blocks) >= FIRST_LOOK:
            if high < limit:
                verdict = "no slower"
            elif low > 1 and ratio > (1 + limit) / 2:
                verdict = "slower"
        if progress is not None:
            progress(len(blocks), f"{100 * (ratio - 1):+.1f} %")
        spent = clock() - began
        late = spent * (1 + 1 / len(blocks)) > max_seconds
        if verdict != "undecided" or late or len(blocks) >= MOST_BLOCKS:
            break
    middle = {name: statistics.median(taken) * 1e3 for name, taken in times.items()}
    return Comparison(
        verdict=verdict,
        ratio=ratio,
        low=low,
        high=high,
        limit=limit,
        blocks=len(blocks),
        pairs=sum(map(len, blocks)),
        old_ms=middle["old"],
        new_ms=middle["new"],
        seconds=spent,
    )


def interval(blocks: list[list[float]], confidence: float) -> tuple[float, float, float]:
    """Return the ratio and its confidence interval from log ratios by block; infinite for a single block."""
    middle = float(midmean(np.array([ratio for block in blocks for ratio in block])))
    count, sizes = len(blocks), np.array([len(block) for block in blocks])
    if count < 2:
        return math.exp(middle), 0.0, math.inf
    table = np.zeros((count, sizes.max()))
    for row, block in zip(table, blocks, strict=True):
        row[: len(block)] = block
    random = np.random.default_rng(0)
    chosen = random.integers(0, count, (RESAMPLES, count, 1))
    pairs = round(sizes.mean())
    within = (random.random((RESAMPLES, count, pairs)) * sizes[chosen]).astype(int)
    middles = midmean(table[chosen, within].reshape(RESAMPLES, -1))
    # A bootstrap of n clusters underestimates the variance by (n - 1) / n.
    error = float(np.std(middles)) * math.sqrt(count / (count - 1))
    reach = t_quantile(1 - (1 - confidence) / 2, count - 1) * error
    if reach > 100:  # nothing is known, and e to that power may be no number any more
        return math.exp(middle), 0.0, math.inf
    return math.exp(middle), math.exp(middle - reach), math.exp(middle + reach)


def midmean(values: Array) -> Array:
    """Return the mean between the quartiles along the last axis.

    Like the median it does not mind what a quarter of the pairs on either side come to, and unlike it, it
    moves when the number of times that calls had to wait does.
    """
    count = values.shape[-1]
    middle: Array = np.sort(values, axis=-1)[..., count // 4 : count - count // 4].mean(axis=-1)
    return middle


@functools.cache
def t_quantile(share: float, freedom: int) -> float:
    """Return the quantile of Student's t distribution for a ``share`` of at least one half.

    With t = sqrt(n) tan(a) its density becomes a power of the cosine on a finite interval, which is summed up
    by Simpson's rule.
    """
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)

    def below(angle: float) -> float:
        places = np.linspace(0, angle, 2001)
        weights = np.ones(2001)
        weights[1:-1:2], weights[2:-1:2] = 4, 2
        return 0.5 + scale * float((np.cos(places) ** (freedom - 1) * weights).sum()) * angle / 6000

    low, high = 0.0, math.pi / 2
    for _ in range(60):
        angle = (low + high) / 2
        low, high = (angle, high) if below(angle) < share else (low, angle)
    return math.sqrt(freedom) * math.tan(low)


def _block(
    openers: dict[str, Open],
    order: np.random.Generator,
    clock: Callable[[], float],
    timer: Callable[[], float],
    times: dict[str, list[float]],
) -> list[float]:
    """Open both, time pairs of calls, close both; return the log ratios new over old."""
    began = clock()
    with ExitStack() as stack:
        names = [str(name) for name in order.permutation(list(openers))]
        calls = {name: stack.enter_context(openers[name]()) for name in names}
        best: list[float] = []
        pair = 0.0
        for call in calls.values():
            fastest = math.inf
            for _ in range(WARMUP):
                now = clock()
                fastest, last = min(fastest, seconds_of(call, timer)), clock() - now
            best.append(fastest)
            pair += last
        # As many of both, by the fastest call that was seen, which waited least; but one of the two may be a
        # thousand times as slow, or take nothing by a timer that ticks seldom.
        least, most = BLOCK_SECONDS
        repeats = max(1, math.ceil(VISIT_SECONDS / max(min(best), max(best) / 4, 1e-6)))
        repeats = min(repeats, math.ceil(most / max(pair, 1e-6)))
        seconds = min(most, max(least, 2 * (clock() - began)))
        pairs = max(LEAST_PAIRS, min(MOST_PAIRS, int(seconds / max(repeats * pair, 1e-6))))
        ratios = []
        for _ in range(pairs):
            taken = {}
            for name in order.permutation(names):
                call = calls[str(name)]
                took = sum(seconds_of(call, timer) for _ in range(repeats))
                taken[str(name)] = max(took / repeats, 1e-9)
            for name, took in taken.items():
                times[name].append(took)
            ratios.append(math.log(taken["new"] / taken["old"]))
    return ratios
