"""Tiles out of focus are what a lens makes of them: a point becomes a disk, in linear light; greys stay."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from fdikp_edge.calibration.defocus import in_turn, out_of_focus
from fdikp_edge.calibration.samples import choose, shipped_photos
from fdikp_edge.export.calibrate import choose_samples
from fdikp_edge.export.lowered import LoweredModel
from fdikp_edge.models.fdikp.fdikp import DEFOCUS
from hypothesis import given
from hypothesis import strategies as st

from .conftest import SIZE


def srgb(linear: float) -> float:
    """IEC 61966-2-1."""
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055


@given(radius=st.floats(1.5, 9))
def test_a_point_of_light_becomes_a_disk_of_its_radius(radius: float) -> None:
    dot = np.zeros((41, 41, 3), np.uint8)
    dot[20, 20] = 255
    seen = out_of_focus(dot, radius)
    assert (seen.dtype, seen.shape) == (np.uint8, dot.shape)
    distance = np.hypot(*(np.indices((41, 41)) - 20))
    inside, outside = seen[distance < radius - 1], seen[distance > 1.05 * radius + 1]
    assert not outside.any()
    expected = 255 * srgb(1 / (math.pi * radius**2))
    assert np.abs(inside - expected).max() <= 0.06 * expected + 1


@given(grey=st.integers(0, 255), radius=st.sampled_from(DEFOCUS))
def test_an_even_surface_stays_as_it_is(grey: int, radius: float) -> None:
    surface = np.full((16, 24, 3), grey, np.uint8)
    np.testing.assert_allclose(out_of_focus(surface, radius).astype(int), surface.astype(int), atol=1)


def test_radii_take_turns_and_say_so() -> None:
    sharp = choose(shipped_photos(), SIZE, count=6)
    soft = in_turn(sharp, (0, 2, 5))
    assert [tile.radius for tile in soft.tiles] == [0, 2, 5, 0, 2, 5]
    assert [tile.radius for tile in sharp.tiles] == [0] * 6
    for before, after in zip(sharp.tiles, soft.tiles, strict=True):
        assert (before.photo, before.top, before.left) == (after.photo, after.top, after.left)
        np.testing.assert_array_equal(after.pixels, out_of_focus(before.pixels, after.radius))
        if after.radius:
            assert after.features.slope < before.features.slope  # less of the high frequencies
            assert after.features.luminance == pytest.approx(before.features.luminance, abs=0.03)
        else:
            assert after is before


def test_radii_that_no_tile_is_left_for_are_told() -> None:
    sharp = choose(shipped_photos(), SIZE, count=2)
    assert in_turn(sharp, (0, 3)).warnings == sharp.warnings == ()
    (warning,) = in_turn(sharp, (0, 1.5, 3, 5)).warnings
    assert warning == "2 tiles for 4 radii: radius 3, 5 pixels is not used"


def test_shipped_photos_take_turns_and_the_users_stay(lowered: LoweredModel) -> None:
    shipped = choose_samples(lowered, count=6)
    assert {tile.radius for tile in shipped.tiles} == {0.0}, (
        "a source that says nothing is shown sharp photos"
    )
    deblurring = dataclasses.replace(lowered.source, defocus=DEFOCUS)
    shipped = choose_samples(dataclasses.replace(lowered, source=deblurring), count=6)
    assert [tile.radius for tile in shipped.tiles] == [*DEFOCUS, *DEFOCUS[:2]]
    own = choose_samples(lowered, shipped_photos(), count=6)
    assert own.sha256 == choose(shipped_photos(), SIZE, count=6).sha256


def test_a_table_is_tied_to_what_the_network_was_shown() -> None:
    sharp = choose(shipped_photos(), SIZE, count=4)
    assert in_turn(sharp, (0,)).sha256 == sharp.sha256
    assert in_turn(sharp, DEFOCUS).sha256 == in_turn(sharp, DEFOCUS).sha256 != sharp.sha256
    assert in_turn(sharp, DEFOCUS).sha256 != in_turn(sharp, (0, 1.5, 3, 6)).sha256
