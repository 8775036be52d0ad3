"""The comparison of int8 with float32: every row measured, ratios by pairs, absence said."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from fdikp_edge.benchmarks.studies import int8
from fdikp_edge.benchmarks.timing.latency import Latency
from fdikp_edge.export.lowered import lower_model
from fdikp_edge.runtime import processor
from torch import nn


@pytest.mark.parametrize("weights", ["8bit", "7bit"])
def test_both_precisions_are_run_and_their_pictures_compared(weights: str):
    pytest.importorskip("openvino")
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 3, 3, padding=1), nn.Sigmoid()
    model = lower_model(nn.Sequential(*layers).eval(), (64, 64), name="plain", profile="openvino")
    result = int8.compare(model, tiles=4, rounds=3, seconds=5, clock="cpu", weights=weights)
    rows = {row["name"]: row for row in result["rows"]}
    assert {int8.FLOAT, int8.OURS} <= set(rows)
    assert rows[int8.FLOAT]["times_fp32"] == rows[int8.FLOAT]["times_fp32_min"] == 1
    assert rows[int8.FLOAT]["psnr_db"] is None
    if weights == "7bit" or not processor.saturates():
        assert rows[int8.OURS]["psnr_db"] > 40
    text = int8.show(result)
    assert "plain 64x64" in text and "2 of 2 layers" in text
    installed = importlib.util.find_spec("nncf") is not None
    assert (int8.ABSENT in text) != installed
    assert ("NNCF" in rows) == installed


def test_the_ratio_is_the_median_over_pairs_and_not_the_ratio_of_medians():
    times = {int8.FLOAT: Latency((10.0, 40.0, 12.0), True), "fast": Latency((5.0, 10.0, 3.0), True)}
    row = int8._row("fast", times)
    assert row["times_fp32"] == 4.0
    assert row["times_fp32_min"] == round(10 / 3, 3)
