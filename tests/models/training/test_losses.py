import math

import pytest
import torch
from fdikp_edge.models.fdikp.fdikp import resize
from fdikp_edge.models.training.losses import FLOOR, SCALE_WEIGHTS, SPECTRUM_WEIGHT, multi_scale_loss
from hypothesis import given
from hypothesis import strategies as st


def pyramid(target: torch.Tensor) -> list[torch.Tensor]:
    half = resize(target, 0.5)
    return [resize(half, 0.5), half, target]


def test_the_right_answer_costs_nothing() -> None:
    target = torch.rand(2, 3, 16, 24)
    assert float(multi_scale_loss(pyramid(target), target)) == pytest.approx(0, abs=1e-6)


@given(st.floats(-0.5, 0.5), st.sampled_from([8, 12, 32]), st.sampled_from([8, 20]))
def test_an_even_error_has_a_closed_form(error: float, height: int, width: int) -> None:
    target = torch.rand(1, 3, height, width, dtype=torch.float64)
    loss = float(multi_scale_loss([target + error], target))
    # All of its spectrum is the constant term, |error| * sqrt(H W) when ortho-normalised.
    spectrum = abs(error) * math.sqrt(height * width) / (height * (width // 2 + 1))
    assert loss == pytest.approx(error**2 + SPECTRUM_WEIGHT * spectrum, abs=1e-7)


def test_each_scale_counts_by_its_weight() -> None:
    target = torch.rand(1, 3, 32, 32, dtype=torch.float64)
    right = pyramid(target)
    costs = []
    for scale in range(3):
        outputs = list(right)
        noise = torch.randn_like(outputs[scale]) * 0.1
        outputs[scale] = outputs[scale] + noise
        alone = float(multi_scale_loss([right[scale] + noise], right[scale]))
        costs.append(float(multi_scale_loss(outputs, target)) / alone)
    assert costs == pytest.approx(SCALE_WEIGHTS, rel=1e-6)


def test_relative_errors_weigh_pictures_alike() -> None:
    target = torch.rand(2, 3, 16, 16, dtype=torch.float64)
    error = torch.randn_like(target) * torch.tensor([0.2, 0.02]).reshape(2, 1, 1, 1)
    apart = [
        float(multi_scale_loss([t + e], t)) for t, e in zip(target.split(1), error.split(1), strict=True)
    ]
    together = float(multi_scale_loss([target + error], target, "relative"))
    assert together == pytest.approx(sum(math.log1p(e / FLOOR) for e in apart) / 2, rel=1e-9)
    assert float(multi_scale_loss(pyramid(target), target, "relative")) == pytest.approx(0, abs=4e-9 / FLOOR)
