from pathlib import Path

import pytest
import torch
from fdikp_edge.models.training.photos import crop, read_photos, split
from fdikp_edge.runtime.errors import BadInputError, ImageError
from PIL import Image


def test_photos_are_reduced_until_too_small(photo_folder: Path) -> None:
    photos = read_photos(photo_folder, smallest=200)
    assert [photo.name for photo in photos] == ["0.png", "1.png", "2.png"]
    assert [tuple(picture.shape) for picture in photos[0].reduced] == [(3, 360, 360), (3, 240, 240)]


def test_a_reduced_pixel_is_the_mean_of_those_it_replaces(photo_folder: Path) -> None:
    import numpy as np

    full = np.asarray(Image.open(photo_folder / "0.png"), np.float64)
    mean = full.reshape(360, 2, 360, 2, 3).mean(axis=(1, 3))
    reduced = read_photos(photo_folder, smallest=300)[0].reduced[0].permute(1, 2, 0).numpy()
    assert float(np.abs(reduced - mean).max()) <= 1.0


def test_who_is_held_out_depends_on_the_files_alone(photo_folder: Path) -> None:
    photos = read_photos(photo_folder, smallest=200)
    training, validation = split(photos, 1)
    again = split(list(reversed(photos)), 1)
    assert len(training) == 2 and {p.name for p in training}.isdisjoint(p.name for p in validation)
    assert [p.name for p in validation] == [p.name for p in again[1]]


@pytest.mark.parametrize("held_out", [0, 3])
def test_both_sides_need_a_photo(photo_folder: Path, held_out: int) -> None:
    with pytest.raises(BadInputError, match="3 usable photographs"):
        split(read_photos(photo_folder, smallest=200), held_out)


def test_photos_that_are_too_small_are_named_as_the_reason(photo_folder: Path) -> None:
    with pytest.raises(BadInputError, match=r"none of its 3 photographs is large enough.*1000x1000"):
        read_photos(photo_folder, smallest=500)


def test_bad_folders_and_files(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no such folder"):
        read_photos(tmp_path / "missing", smallest=10)
    with pytest.raises(BadInputError, match="none of its 0 photographs"):
        read_photos(tmp_path, smallest=10)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    with pytest.raises(ImageError, match=r"broken\.jpg"):
        read_photos(tmp_path, smallest=10)


def test_crops_are_pieces_of_the_photos(photo_folder: Path) -> None:
    photos = read_photos(photo_folder, smallest=200)
    generator = torch.Generator().manual_seed(0)
    pieces = [crop(photos, 64, generator) for _ in range(6)]
    assert all(
        piece.shape == (3, 64, 64) and 0 <= float(piece.min()) <= float(piece.max()) <= 1 for piece in pieces
    )
    assert len({float(piece.sum()) for piece in pieces}) == 6
    assert torch.equal(crop(photos, 64, torch.Generator().manual_seed(0)), pieces[0])
