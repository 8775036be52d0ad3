"""Patterns are pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from fdikp_edge.models.patterns import patterns, pictures_in_focus
from hypothesis import given, settings
from hypothesis import strategies as st

Draw = Callable[[Sequence[int], torch.Generator], Any]


@pytest.mark.parametrize("draw", [patterns, pictures_in_focus])
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32), height=st.integers(8, 40), width=st.integers(8, 40), batch=st.integers(1, 3)
)
def test_patterns_are_pictures_of_8_bits(draw: Draw, seed: int, height: int, width: int, batch: int) -> None:
    shape = (batch, 3, height, width)
    pictures = draw(shape, torch.Generator().manual_seed(seed))
    assert pictures.shape == shape and pictures.dtype == torch.float32
    assert float(pictures.min()) >= 0 and float(pictures.max()) <= 1
    assert torch.allclose(pictures * 255, (pictures * 255).round(), atol=1e-4)


def test_each_picture_of_a_batch_is_drawn_by_itself() -> None:
    for seed in range(12):
        one, other = pictures_in_focus((2, 3, 24, 32), torch.Generator().manual_seed(seed))
        assert not torch.equal(one, other)
