"""Sizes to build for a photo: the network takes them, and their tiles waste little."""

from __future__ import annotations

import pytest
from fdikp_edge.models.fdikp.variants import VARIANTS
from fdikp_edge.runtime.buckets.buckets import Measured
from fdikp_edge.runtime.buckets.suggest import CLASSES, suggest_sizes
from fdikp_edge.runtime.errors import SizeError
from fdikp_edge.runtime.tiles.tiling import Tiling
from hypothesis import given, settings
from hypothesis import strategies as st


def overlap(photo: tuple[int, int], tile: tuple[int, int]) -> float:
    """Pixels of all tiles by those of the photo, as a photo is really cut."""
    grid = Tiling.of(tile, Measured.halo(tile, None)).grid(*photo)
    return grid.tiles * tile[0] * tile[1] / (photo[0] * photo[1])


def test_24_megapixels() -> None:
    photo = (4000, 6000)
    assert suggest_sizes(*photo, VARIANTS["tiny"].size.accepts) == [(256, 256), (512, 512), (640, 640)]
    assert overlap(photo, (256, 256)) > 1.3 and overlap(photo, (640, 640)) < 1.2
    assert overlap(photo, suggest_sizes(*photo)[-1]) < 1.12


@given(
    st.integers(1, 9000),
    st.integers(1, 9000),
    st.sampled_from([variant.size for variant in VARIANTS.values()]),
)
@settings(max_examples=60, deadline=None)
def test_no_square_of_its_class_wastes_less(height: int, width: int, rule: object) -> None:
    photo, sizes = (height, width), suggest_sizes(height, width, rule.accepts)  # type: ignore[attr-defined]
    assert 1 <= len(sizes) <= len(CLASSES)
    costs = [overlap(photo, size) for size in sizes]
    assert costs == sorted(costs, reverse=True), "a larger tile pays only if it wastes less"
    for size, cost in zip(sizes, costs, strict=True):
        assert rule.accepts(*size) and max(size) <= 2 * min(size)  # type: ignore[attr-defined]
        ((least, most),) = [one for one in CLASSES if one[0] <= size[0] * size[1] < one[1]]
        for side in range(32, 1024, 32):
            if least <= side * side < most and rule.accepts(side, side):  # type: ignore[attr-defined]
                assert cost <= overlap(photo, (side, side)) + 1e-9


def test_a_network_of_one_odd_size_gets_no_suggestion() -> None:
    with pytest.raises(SizeError, match="no size of tiles"):
        suggest_sizes(4000, 6000, lambda height, width: (height, width) == (100, 100))
