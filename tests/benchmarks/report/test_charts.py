"""Where the marks of the report's drawings go."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from fdikp_edge.benchmarks.accuracy import error_map
from fdikp_edge.benchmarks.report import charts as charts
from fdikp_edge.benchmarks.report import lanes, scale
from hypothesis import given
from hypothesis import strategies as st


def test_all_samples_are_in_the_histogram() -> None:
    samples = [10.0] * 97 + [11.0, 12.0, 500.0]
    chart = charts.latency(samples, [("p50", 10.0)])
    assert chart is not None and chart.logarithmic
    counts = [int(bar.text.split()[0]) for bar in chart.bars]
    assert sum(counts) == 100 and chart.bars[-1].x > charts.RIGHT - 60
    heights = {round(bar.height / count, 6) for bar, count in zip(chart.bars, counts, strict=True)}
    assert len(heights) == 1, "the height of a bar is not proportional to its count"


@given(st.lists(st.floats(0, 1.7e308, allow_subnormal=True), min_size=1, max_size=8))
def test_any_time_that_a_report_may_hold_is_drawn_or_not(samples: list[float]) -> None:
    chart = charts.latency(samples, [("p50", samples[0])])
    assert (chart is None) == (max(samples) > charts.LONGEST_MS)
    if chart is not None:
        assert sum(int(bar.text.split()[0]) for bar in chart.bars) == len(samples)


def test_bars_of_bands_are_comparable() -> None:
    axis = charts.decibel_axis([-131.0, -98.0])
    assert axis == (-160, 0)
    loud, soft, none = charts.bands([(0, 0.5, -98.0), (0.5, 1, -131.0), (1, 1.4, float("-inf"))], axis).bars
    assert loud.height == pytest.approx(soft.height * (160 - 98) / (160 - 131))
    assert none.height == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (12.345, "12.3"), (0.01234, "0.0123"), (1234.5, "1234"), (1e-7, "1.00e-07"), (50.0, "50")],
)
def test_three_significant_digits(value: float, text: str) -> None:
    assert charts.short(value) == text


times = st.floats(1e-3, 1e6)


@given(st.lists(times, min_size=1, max_size=30))
def test_an_axis_holds_its_values_in_order_and_says_enough(values: list[float]) -> None:
    axis = charts.Axis.over(values)
    places = [axis.part(value) for value in sorted(values)]
    assert places == sorted(places) and places[0] >= -1e-9 and places[-1] <= 1 + 1e-9
    ticks = axis.ticks()
    assert 1 <= len(ticks) <= 12 and ticks == sorted(ticks)
    assert all(-1e-6 <= axis.part(tick) <= 1 + 1e-6 for tick in ticks)


@given(st.lists(times, min_size=1, max_size=600))
def test_lanes_keep_the_slowest_calls_and_the_order_in_time(samples: list[float]) -> None:
    figures = {"p50": samples[0], "eager_p50": max(samples)}
    drawn = lanes.lanes([(samples, figures), ([], {})])
    assert drawn is not None
    lane, untimed = drawn.lanes
    assert untimed is None and lane is not None
    assert lane.count == len(samples) and len(lane.dots) <= lanes.MOST_DOTS
    assert lane.eager == pytest.approx(max(dot.x for dot in lane.dots)), "the slowest is drawn"
    heights = [dot.y for dot in lane.dots]
    assert heights == sorted(heights) and all(0 < y < lanes.HEIGHT for y in heights)
    assert all(0 < dot.x < 100 for dot in lane.dots)


def test_no_lanes_where_nothing_was_timed() -> None:
    assert lanes.lanes([([], {}), ([], {})]) is None
    assert lanes.lanes([([-1.0], {})]) is None
    bare = lanes.lanes([([], {"p50": 3.0, "p99": 9.0})])
    assert bare is not None and bare.lanes[0] is not None
    assert [name for name, _ in bare.lanes[0].marks] == ["p50", "p99"]


def test_marks_of_the_scale_stand_on_the_colour_of_their_error() -> None:
    errors = [3e-8, 1e-6, 2e-5, 0.02, 0.2]
    drawn = scale.scale([(str(error), error) for error in errors])
    for mark in drawn.marks:
        error = error_map.HALF_STEP if mark.text.startswith("half") else float(mark.text)
        (under,) = [
            i for i, cell in enumerate(drawn.cells)
            if cell.x - 1e-6 <= mark.x < cell.x + cell.width - 0.05 - 1e-6
        ]  # fmt: skip
        assert under == int(error_map.steps(np.array([error * (1 + 1e-9)]))[0])
    assert [tick.text for tick in drawn.ticks] == [
        "1e-7",
        "1e-6",
        "1e-5",
        "1e-4",
        "1e-3",
        "1e-2",
        "1e-1",
        "1",
    ]
    gaps = [b.at - a.at for a, b in itertools.pairwise(drawn.ticks)]
    assert max(gaps) == pytest.approx(min(gaps)) and math.isfinite(gaps[0])
