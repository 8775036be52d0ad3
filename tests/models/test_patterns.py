"""Patterns are pictures."""

from __future__ import annotations

from typing import Any

import torch
from fdikp_edge.models.patterns import patterns
from hypothesis import given, settings
from hypothesis import strategies as st


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32), height=st.integers(8, 40), width=st.integers(8, 40), batch=st.integers(1, 3)
)
def test_patterns_are_pictures_of_8_bits(seed: int, height: int, width: int, batch: int) -> None:
    shape = (batch, 3, height, width)
    pictures: Any = patterns(shape, torch.Generator().manual_seed(seed))
    assert pictures.shape == shape and pictures.dtype == torch.float32
    assert float(pictures.min()) >= 0 and float(pictures.max()) <= 1
    assert torch.allclose(pictures * 255, (pictures * 255).round(), atol=1e-4)
