"""The cut covers every pixel, its weights add up to exactly one, and an identity gives the photo back."""

from __future__ import annotations

import numpy as np
import pytest
from fdikp_edge.runtime.errors import BadInputError
from fdikp_edge.runtime.tiles.tiling import Axis, Grid, blend
from hypothesis import given, settings
from hypothesis import strategies as st


@st.composite
def axes(draw: st.DrawFn) -> tuple[Axis, int]:
    """A cut and the border it was asked for."""
    tile = draw(st.integers(1, 300))
    align = draw(st.integers(1, min(tile, 40)))
    halo = draw(st.integers(0, (tile - align) // 2))
    border = draw(st.integers(0, tile - align))
    return Axis.plan(draw(st.integers(1, 2000)), tile, halo, border, align), border


@given(axes())
@settings(max_examples=300, deadline=None)
def test_weights_add_up_to_exactly_one_and_stay_inside_their_tile(planned: tuple[Axis, int]) -> None:
    for cut in (planned[0], planned[0].shifted()):
        total = np.zeros(cut.length, np.float32)
        for index, start in enumerate(cut.starts):
            weights = cut.weights(index)
            assert weights.shape == (cut.tile,)
            assert weights.min() >= 0
            begin, end = max(start, 0), min(start + cut.tile, cut.length)
            assert begin < end, "a tile without a pixel of the photo is work for nothing"
            total[begin:end] += weights[begin - start : end - start]
        assert (total == 1).all()


@given(axes())
@settings(max_examples=200, deadline=None)
def test_tiles_are_few_aligned_evenly_spread_and_overlap_by_two_halos(planned: tuple[Axis, int]) -> None:
    axis, border = planned
    assert all(start % axis.align == 0 for start in axis.starts)
    if axis.length <= axis.tile:
        assert len(axis.starts) == 1
        assert axis.starts[0] <= 0
        assert axis.starts[0] + axis.tile >= axis.length
        return
    steps = np.diff(axis.starts)
    assert -border - axis.align < axis.starts[0] <= -border
    assert 0 <= axis.starts[-1] + axis.tile - (axis.length + border) < axis.align
    assert steps.max() - steps.min() <= axis.align
    assert steps.max() <= axis.tile - 2 * axis.halo
    largest = (axis.tile - 2 * axis.halo) // axis.align * axis.align
    reach = axis.starts[0] + (len(steps) - 1) * largest + axis.tile
    assert reach < axis.length + border, "one tile fewer would have done"


def test_products_of_weights_add_up_to_exactly_one_in_two_dimensions() -> None:
    grid = Grid.plan((777, 555), (256, 192), 31, 20)
    total = np.zeros((777, 555), np.float32)
    for row, top in enumerate(grid.rows.starts):
        for column, left in enumerate(grid.columns.starts):
            weight = grid.rows.weights(row)[:, None] * grid.columns.weights(column)
            y, x = slice(max(top, 0), top + 256), slice(max(left, 0), left + 192)
            part = weight[y.start - top :, x.start - left :]
            shape = total[y, x].shape
            total[y, x] += part[: shape[0], : shape[1]]
    assert (total == 1).all()


@given(
    size=st.tuples(st.integers(1, 150), st.integers(1, 150)),
    tile=st.tuples(st.integers(5, 64), st.integers(5, 64)),
    share=st.floats(0, 0.99),
    border=st.integers(0, 2),
    align=st.sampled_from([1, 2, 3]),
    bits=st.sampled_from([8, 16]),
)
@settings(max_examples=150, deadline=None)
def test_an_identity_gives_every_photo_back_bit_for_bit(
    size: tuple[int, int], tile: tuple[int, int], share: float, border: int, align: int, bits: int
) -> None:
    halo = int(share * ((min(tile) - align) // 2))
    white = np.float32((1 << bits) - 1)
    pixels = np.random.default_rng(0).integers(0, 1 << bits, (*size, 3)).astype(f"u{bits // 8}")
    result = np.full_like(pixels, 77)
    rows_seen = 0

    def process(part: np.ndarray) -> np.ndarray:
        assert part.shape == (*tile, 3)
        return (part / white).astype(np.float32).transpose(2, 0, 1)

    for first, rows in blend(pixels, Grid.plan(size, tile, halo, border, align), [process]):
        assert first == rows_seen
        rows_seen += rows.shape[1]
        result[first:rows_seen] = np.rint(rows * white).transpose(1, 2, 0)
    assert rows_seen == size[0]
    assert np.array_equal(result, pixels)


def test_beyond_the_photo_lies_its_mirror_image() -> None:
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
    seen: list[np.ndarray] = []

    def process(part: np.ndarray) -> np.ndarray:
        seen.append(part[..., 0])
        return part.astype(np.float32).transpose(2, 0, 1)

    list(blend(pixels, Grid.plan((3, 4), (9, 8), 1), [process]))
    assert np.array_equal(seen[0], np.pad(pixels[..., 0], ((3, 3), (2, 2)), "reflect"))


def test_shifted_seams_lie_midway_between_the_seams() -> None:
    axis = Axis.plan(2000, 256, 32, 32)
    here, there = np.array(axis.ramps), np.array(axis.shifted().ramps)
    nearest = np.abs(here[:, None] - there).min(axis=1)
    assert nearest.min() > 64, "no blend of one lies within a blend of the other"


@pytest.mark.parametrize(
    ("length", "tile", "halo", "border"),
    [(0, 8, 1, 0), (9, 0, 0, 0), (9, 8, 4, 0), (9, 8, -1, 0), (9, 8, 1, -1), (9, 8, 1, 8)],
)
def test_impossible_cuts_are_refused(length: int, tile: int, halo: int, border: int) -> None:
    with pytest.raises(BadInputError):
        Axis.plan(length, tile, halo, border)
