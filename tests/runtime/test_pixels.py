"""Photographs as arrays."""

from __future__ import annotations

import numpy as np
import pytest
from fdikp_edge.export.contracts import tensor_contracts
from fdikp_edge.runtime.photo import Photo
from fdikp_edge.runtime.pixels import as_input, crop, middle, picture, planes, psnr_db
from hypothesis import given
from hypothesis import strategies as st


def photo(height: int, width: int, dtype: type = np.uint8) -> Photo:
    values = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (height, width, 3), dtype=dtype)
    return Photo(values)


def test_the_middle_is_taken() -> None:
    source, _ = tensor_contracts("uint8_nhwc", 4, 6)
    full = photo(10, 12)
    np.testing.assert_array_equal(crop(full, source)[0], full.pixels[3:7, 3:9])


def test_a_small_photo_is_continued_by_its_mirror_image() -> None:
    source, _ = tensor_contracts("uint8_nhwc", 9, 4)
    small = photo(5, 4)
    picture = crop(small, source)[0]
    np.testing.assert_array_equal(picture[2:7], small.pixels)
    np.testing.assert_array_equal(picture[:2], small.pixels[1::-1])
    np.testing.assert_array_equal(picture[7:], small.pixels[:-3:-1])


def test_a_far_smaller_photo_still_fills_the_size() -> None:
    source, _ = tensor_contracts("uint8_nhwc", 64, 64)
    assert crop(photo(3, 2), source).shape == (1, 64, 64, 3)


def test_sixteen_bits_stay_in_floats_and_are_rounded_in_bytes() -> None:
    deep = photo(4, 4, np.uint16)
    floats, _ = tensor_contracts("float_nchw", 4, 4)
    whole, _ = tensor_contracts("uint8_nhwc", 4, 4)
    np.testing.assert_allclose(crop(deep, floats)[0].transpose(1, 2, 0), deep.pixels / 65535, rtol=1e-6)
    np.testing.assert_array_equal(crop(deep, whole)[0], np.rint(deep.pixels / 257))


@pytest.mark.parametrize("name", ["float_nchw", "uint8_nhwc"])
def test_a_crop_becomes_the_same_picture_again(name: str) -> None:
    source, _ = tensor_contracts(name, 8, 8)  # type: ignore[arg-type]
    given = photo(8, 8)
    array = crop(given, source)
    assert (array.shape, str(array.dtype)) == (source.shape, source.dtype)
    assert array.flags.c_contiguous
    np.testing.assert_array_equal(picture(array, source), given.pixels)


def test_values_beyond_white_are_clamped_in_a_picture() -> None:
    _, result = tensor_contracts("float_nchw", 1, 2)
    array = np.array([-0.5, 1.5], np.float32).repeat(3).reshape(1, 1, 2, 3).transpose(0, 3, 1, 2)
    assert picture(array, result).ravel().tolist() == [0, 0, 0, 255, 255, 255]


@given(
    have=st.tuples(st.integers(1, 9), st.integers(1, 9)), want=st.tuples(st.integers(1, 9), st.integers(1, 9))
)
def test_the_middle_is_of_the_size_asked_for_and_in_the_middle(
    have: tuple[int, int], want: tuple[int, int]
) -> None:
    pixels = np.arange(have[0] * have[1] * 3).reshape(*have, 3)
    cut = middle(pixels, want)
    assert cut.shape == (*want, 3)
    mirrored_for_ever = np.pad(pixels, [(9, 9), (9, 9), (0, 0)], mode="symmetric")
    top, left = (9 + ((h - w) // 2 if h >= w else -((w - h) // 2)) for h, w in zip(have, want, strict=True))
    np.testing.assert_array_equal(cut, mirrored_for_ever[top : top + want[0], left : left + want[1]])


def test_psnr_of_known_differences() -> None:
    zero = np.zeros((4, 4, 3))
    assert psnr_db(zero + 0.1, zero) == pytest.approx(20.0)
    bytes_ = np.zeros((4, 4, 3), np.uint8)
    assert psnr_db(bytes_ + np.uint8(51), bytes_) == pytest.approx(20 * np.log10(5))
    assert psnr_db(zero, zero) == 200.0
    for broken in (np.nan, np.inf):
        assert psnr_db(np.full((2, 2, 3), broken), np.zeros((2, 2, 3))) == -200.0


def test_planes_are_what_the_float_contract_takes() -> None:
    source, _ = tensor_contracts("float_nchw", 5, 7)
    pixels = photo(5, 7).pixels
    np.testing.assert_array_equal(planes(pixels), as_input(pixels, source))
