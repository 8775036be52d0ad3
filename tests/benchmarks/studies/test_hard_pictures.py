"""Hard pictures, with networks whose distance from the reference is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from fdikp_edge.benchmarks.accuracy.hard_cases import hard_cases
from fdikp_edge.benchmarks.studies import hard_pictures
from fdikp_edge.runtime.artifact import Artifact
from torch import nn


def test_pictures_under_the_budget_are_counted_and_the_worst_is_named(
    blend: Callable[..., nn.Module], make_artifact: Callable[..., Artifact], reference: Any
) -> None:
    artifacts = [make_artifact(blend(bias=bias)) for bias in (0.0, 1.5e-5, 3e-5)]
    told: list[str] = []
    table = hard_pictures.measure(artifacts, lambda artifact: reference, threads=1, note=told.append)
    same, near, far = table["artifacts"]
    cases = dict(hard_cases(artifacts[0].passport.input.size))
    assert len(told) == 3 and all(set(row["all"]) == set(cases) for row in table["artifacts"])
    assert (same["under_budget"], same["far_under"]) == (0, 0)
    # fp32's budget is 100 dB: a difference of 1.5e-5 everywhere is 96.5 dB, one of 3e-5 is 90.5 dB.
    assert (near["under_budget"], near["far_under"]) == (len(cases), 0)
    assert (far["under_budget"], far["far_under"]) == (len(cases), len(cases))
    assert far["worst"]["parity_db"] == pytest.approx(90.5, abs=0.3)
    assert far["worst"]["parity_db"] == min(far["all"].values()) == far["all"][far["worst"]["name"]]
    assert json.loads(json.dumps(table, allow_nan=False)) == table
    text = hard_pictures.show(table)
    assert far["worst"]["name"] in text and "exact sums" not in text


def test_exact_sums_are_passed_to_the_session_and_named_in_the_table(
    blend: Callable[..., nn.Module],
    make_artifact: Callable[..., Artifact],
    reference: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[Any] = []
    real = hard_pictures.open_session

    def watched(artifact: Artifact, **options: Any) -> Any:
        opened.append(options)
        return real(artifact, **options)

    monkeypatch.setattr(hard_pictures, "open_session", watched)
    table = hard_pictures.measure(
        [make_artifact(blend())],
        lambda artifact: reference,
        threads=1,
        exact_sums=True,
        note=lambda text: None,
    )
    assert opened == [{"threads": 1, "exact_sums": True}]
    assert "exact sums" in hard_pictures.show(table)
