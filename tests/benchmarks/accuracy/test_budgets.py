"""The budget table."""

from __future__ import annotations

import numpy as np
import pytest
from fdikp_edge.benchmarks.accuracy.budgets import BUDGETS, TENSOR_BUDGETS, budget_for
from fdikp_edge.export.targets import PRECISIONS
from fdikp_edge.runtime.errors import UnknownNameError
from fdikp_edge.runtime.pixels import psnr_db


def test_every_precision_has_a_budget_and_fp32_is_the_promised_one() -> None:
    assert set(BUDGETS) == set(PRECISIONS)
    assert BUDGETS["fp32"].to_dict() == {"max_abs": 2e-5, "min_psnr_db": 100.0, "measure": "image"}


def test_tensors_have_a_budget_of_every_precision_too() -> None:
    assert set(TENSOR_BUDGETS) == set(PRECISIONS)
    budget = budget_for("fp32", measure="tensor")
    assert budget.measure == "tensor"
    assert budget.problems(1e-6, 80.0) == ["SNR 80.0 dB is under 90 dB"]


def test_each_bound_is_named_when_it_breaks() -> None:
    budget = budget_for("fp32")
    assert budget.problems(2e-5, 100.0) == []
    assert budget.problems(3e-5, 120.0) == ["largest difference 3.00e-05 is over 2.00e-05"]
    assert budget.problems(1e-6, 99.0) == ["PSNR 99.0 dB is under 100 dB"]
    assert len(budget.problems(float("nan"), float("nan"))) == 2


def test_bytes_may_be_one_step_off_and_no_more_than_a_few_of_them() -> None:
    budget = budget_for("fp32", "uint8")
    before = np.full((100, 150, 1), 7 / 255)
    for wrong, step, good in ((1, 1, True), (50, 1, True), (1, 2, False), (1500, 1, False)):
        after = before.copy()
        after.ravel()[:wrong] += step / 255
        problems = budget.problems(float(np.abs(after - before).max()), psnr_db(after, before))
        assert (problems == []) is good, (wrong, step, problems)


def test_an_unknown_precision_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"fp8.*fp32, fp16, bf16, int8"):
        budget_for("fp8")
