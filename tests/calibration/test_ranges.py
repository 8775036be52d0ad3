"""Ranges against figures computed from the values themselves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fdikp_edge.calibration.ranges import LEVELS, Histogram, collect
from fdikp_edge.export.lowered import LoweredModel
from fdikp_edge.runtime.errors import CalibrationError
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture(autouse=True)
def same_values_each_time() -> None:
    """Which values are drawn must not depend on the tests before: one draw in sixty is an unlucky one."""
    torch.manual_seed(0)


def histogram_of(*arrays: torch.Tensor) -> Histogram:
    histogram = Histogram()
    for array in arrays:
        histogram.add(array)
    return histogram


def error_at(values: torch.Tensor, limit: float) -> float:
    step = limit / LEVELS
    return float(((values / step).round().clamp(-LEVELS, LEVELS) * step - values).square().mean())


@given(st.integers(0, 10_000), st.floats(1e-3, 1e3), st.sampled_from([2, 3, 4]))
def test_extremes_and_moments_are_those_of_all_values(seed: int, scale: float, runs: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = [scale * torch.randn(500, generator=generator) * (i + 1) for i in range(runs)]
    seen = histogram_of(*values).statistics()
    everything = torch.cat(values).double()
    assert seen.minimum == float(everything.min())
    assert seen.maximum == float(everything.max())
    assert seen.mean == pytest.approx(float(everything.mean()), rel=1e-6, abs=1e-7 * scale)
    assert seen.rms == pytest.approx(float(everything.square().mean().sqrt()), rel=1e-6)
    assert all(0 < limit <= seen.peak for limit in seen.ranges.values())


def test_the_order_of_photos_does_not_matter() -> None:
    small, large = torch.rand(1000), 37 * torch.randn(1000)
    assert histogram_of(small, large).statistics().ranges == histogram_of(large, small).statistics().ranges


def test_least_squares_is_no_worse_than_other_ranges_on_the_values_themselves() -> None:
    values = torch.distributions.Laplace(0.0, 1.0).sample((60_000,))
    ranges = histogram_of(values).statistics().ranges
    best = error_at(values, ranges["mse"])
    assert best < error_at(values, ranges["minmax"])
    for factor in (0.5, 0.7, 1.4, 2.0):
        assert best < 1.02 * error_at(values, factor * ranges["mse"])


def test_percentile_leaves_three_in_ten_thousand_out() -> None:
    values = torch.linspace(0, 1, 50_001) ** 8  # thins out towards the top, so that a bin holds little there
    assert histogram_of(values).statistics().ranges["percentile"] == pytest.approx(0.9997**8, abs=6e-4)


def test_entropy_clips_a_lone_outlier() -> None:
    values = torch.cat([torch.randn(60_000).clamp(-4, 4), torch.tensor([40.0])])
    seen = histogram_of(values).statistics()
    assert seen.ranges["minmax"] == 40
    assert seen.ranges["entropy"] < 10


def test_a_tensor_of_zeros_has_a_range_of_zero() -> None:
    seen = histogram_of(torch.zeros(100)).statistics()
    assert set(seen.ranges.values()) == {0.0}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_names_the_tensor_and_its_module(value: float, lowered: LoweredModel) -> None:
    broken = np.full((1, 3, 64, 64), 0.5, np.float32)
    broken[0, 1, 40, 13] = value
    with pytest.raises(CalibrationError, match=r"conv2d.*NaN"):
        collect(lowered.lowered.program, ["conv2d"], [broken])


def test_an_unknown_tensor_is_said(lowered: LoweredModel) -> None:
    with pytest.raises(CalibrationError, match="no tensor 'nothing'"):
        collect(lowered.lowered.program, ["nothing"], [np.zeros((1, 3, 64, 64), np.float32)])
