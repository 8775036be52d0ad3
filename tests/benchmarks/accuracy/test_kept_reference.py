"""A kept reference computes each sample once and returns what the reference itself returns."""

from __future__ import annotations

from typing import Any

import numpy as np
from fdikp_edge.benchmarks.accuracy.kept_reference import KeptReference


class Counted:
    """Doubles its input, and lists the arithmetic of each call."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.float64_problem = "none here"

    def __call__(self, x: Any, arithmetic: Any = "float32") -> Any:
        self.calls.append(arithmetic)
        return {"out": (2 * x["x"]).astype(arithmetic)}


def test_each_sample_is_computed_once_for_each_arithmetic() -> None:
    own = Counted()
    kept = KeptReference(own)
    samples = [{"x": np.full(4, value, np.float32)} for value in (1, 2)]
    for _ in range(3):
        for sample in samples:
            for arithmetic in ("float32", "float64"):
                result = kept(sample, arithmetic)["out"]
                np.testing.assert_array_equal(result, 2 * sample["x"])
                assert result.dtype == arithmetic
    assert own.calls == ["float32", "float64"] * 2
    assert kept.float64_problem == "none here"


def test_equal_ids_of_other_samples_are_not_confused() -> None:
    kept = KeptReference(Counted())
    for value in range(20):  # each freed before the next, unless it is kept
        assert kept({"x": np.full(2, value, np.float32)})["out"][0] == 2 * value


def test_what_does_not_fit_is_computed_again() -> None:
    own = Counted()
    kept = KeptReference(own, largest=20)
    first, second = {"x": np.ones(4, np.float32)}, {"x": np.zeros(4, np.float32)}
    for sample in (first, second, first, second):
        kept(sample)
    assert len(own.calls) == 3
