"""Which tiles are chosen, and what is said when the photos are not good enough."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fdikp_edge.calibration.samples import choose, describe, find_photos, noise, shipped_photos
from fdikp_edge.runtime.errors import CalibrationError

from .conftest import SIZE, MakePhotos


def test_equal_seeds_choose_equal_tiles_and_others_do_not(make_photos: MakePhotos) -> None:
    photos = make_photos()
    first, again, other = (choose(photos, SIZE, count=6, seed=seed) for seed in (0, 0, 5))
    assert first.sha256 == again.sha256
    assert first.sha256 != other.sha256
    assert [tile.pixels.shape for tile in first.tiles] == [(64, 64, 3)] * 6


def test_farthest_tiles_cover_more_than_the_first_ones(make_photos: MakePhotos) -> None:
    photos = make_photos(6)
    chosen = choose(photos, SIZE, count=5)
    low, high = chosen.coverage()["luminance"]
    everything = [describe(tile.pixels).luminance for tile in choose(photos, SIZE, count=1000).tiles]
    assert high - low > 0.9 * (max(everything) - min(everything))


def test_features_follow_their_definitions() -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    assert describe(grey).luminance == pytest.approx(128 / 255, abs=1e-6)
    assert describe(grey).saturation == 0
    assert describe(grey).gradient == 0
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 255
    assert describe(red).saturation == 1
    assert describe(red).luminance == pytest.approx(0.2126, abs=1e-6)
    white_noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert abs(describe(white_noise).slope) < 0.3  # equal power at every frequency


def test_the_shipped_photos_cover_dark_bright_grey_and_colourful() -> None:
    samples = choose(shipped_photos(), (256, 256))
    coverage = samples.coverage()
    assert len(samples.tiles) == 24
    assert samples.warnings == ()
    assert coverage["luminance"][0] < 0.15
    assert coverage["luminance"][1] > 0.5
    assert coverage["saturation"][0] < 0.02
    assert coverage["saturation"][1] > 0.5


def test_too_few_photos_are_an_error_and_few_a_warning(make_photos: MakePhotos) -> None:
    with pytest.raises(CalibrationError, match="at least 2"):
        choose(make_photos(1), SIZE)
    assert "only 2 photos" in choose(make_photos(2), SIZE, count=2).warnings[0]


def test_black_photos_are_an_error_and_one_of_them_a_warning(make_photos: MakePhotos) -> None:
    with pytest.raises(CalibrationError, match="black"):
        choose(make_photos(4, level=0), SIZE)
    bright = make_photos(4)
    bright[0].write_bytes(make_photos(1, level=0)[0].read_bytes())
    assert any("black" in warning for warning in choose(bright, SIZE, count=4).warnings)


def test_a_photo_smaller_than_a_tile_is_mirrored_and_said(make_photos: MakePhotos) -> None:
    samples = choose(make_photos(4, size=(40, 50)), SIZE, count=4)
    assert "smaller than a tile" in samples.warnings[0]
    tile = samples.tiles[0].pixels
    assert (tile[40:] == tile[16:40][::-1]).all()


def test_paths(tmp_path: Path, make_photos: MakePhotos) -> None:
    photos = make_photos(3)
    assert find_photos([tmp_path, photos[0]]) == sorted(photos)
    with pytest.raises(CalibrationError, match="no such photo"):
        find_photos([tmp_path / "missing"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(CalibrationError, match="no photo"):
        find_photos([tmp_path / "empty"])


def test_noise_is_uniform() -> None:
    tiles = noise((32, 32), count=3)
    assert tiles.arrays()[0].mean() == pytest.approx(0.5, abs=0.02)
