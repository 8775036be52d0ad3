"""The gain over the photo that went in, where the sharp one is known."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from fdikp_edge.benchmarks.accuracy.gain import gain, sharp_of
from fdikp_edge.runtime.images import read_photo
from fdikp_edge.runtime.photo import Photo
from fdikp_edge.runtime.samples import defocused_photo, sample_photo


def grey(level: float, dtype: type = np.uint8) -> Photo:
    white = np.iinfo(dtype).max
    return Photo(np.full((8, 9, 3), round(level * white), dtype))


def test_decibels_of_levels_that_are_known() -> None:
    for dtype in (np.uint8, np.uint16):
        figures = gain(grey(0.4, dtype), grey(0.6, dtype), grey(0.5, dtype))
        assert figures is not None and figures["before_db"] == pytest.approx(20, abs=0.3)
        nearer = gain(grey(0.4, dtype), grey(0.49, dtype), grey(0.5, dtype))
        assert nearer is not None and nearer["after_db"] == pytest.approx(40, abs=2)
    mixed = gain(grey(0.4), grey(0.4, np.uint16), grey(0.5))
    assert mixed is not None and mixed["before_db"] == pytest.approx(mixed["after_db"], abs=0.1)


def test_none_where_sizes_differ() -> None:
    other = dataclasses.replace(grey(0.5), pixels=np.zeros((4, 4, 3), np.uint8))
    assert gain(grey(0.5), other, grey(0.5)) is None and gain(grey(0.5), grey(0.5), other) is None


def test_the_sharp_photo_of_the_defocused_sample() -> None:
    sharp = sharp_of(defocused_photo())
    assert sharp is not None
    figures = gain(read_photo(defocused_photo()), read_photo(sharp), read_photo(sharp))
    assert figures is not None and 24 < figures["before_db"] < 26 and figures["after_db"] == 200
    assert sharp_of(sample_photo()) is None


def test_a_pair_by_its_folders(tmp_path: Path) -> None:
    for name in ("blur", "sharp"):
        (tmp_path / name).mkdir()
    photo = tmp_path / "blur" / "one.jpg"
    shutil.copy(sample_photo(), photo)
    assert sharp_of(photo) is None
    (tmp_path / "sharp" / "one.txt").write_text("no photo")
    assert sharp_of(photo) is None
    shutil.copy(sample_photo("chelsea"), tmp_path / "sharp" / "one.png")
    assert sharp_of(photo) == (tmp_path / "sharp" / "one.png").resolve()
    shutil.copy(sample_photo("chelsea"), tmp_path / "sharp" / "one.tif")
    assert sharp_of(photo) is None, "two candidates are none"
