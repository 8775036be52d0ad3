"""One bad entry of an album is one result with an error, and the photos beside it are done."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import small_bundle
from fdikp_edge.runtime.batch import deblur_files, plan_files
from fdikp_edge.runtime.images import write_photo
from fdikp_edge.runtime.photo import Photo

PICTURE = Photo(pixels=np.full((40, 48, 3), 128, np.uint8))


@pytest.mark.parametrize("named", [False, True], ids=["in the folder", "named"])
def test_a_link_to_itself_does_not_stop_the_others(named: bool, tmp_path: Path) -> None:
    album = tmp_path / "album"
    album.mkdir()
    write_photo(album / "good.png", PICTURE)
    (album / "loop.png").symlink_to(album / "loop.png")
    given = [album / "loop.png", album / "good.png"] if named else [album]
    results = deblur_files(given, small_bundle.make(tmp_path / "a"), tmp_path / "out")
    errors = {result.source.name: result.error for result in results}
    assert errors["good.png"] is None
    assert "loop.png" in str(errors["loop.png"])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.png"]


def test_a_folder_1300_deep(tmp_path: Path) -> None:
    (tmp_path / "album").mkdir()
    write_photo(tmp_path / "album" / "top.png", PICTURE)
    try:
        _dig(tmp_path / "album")
        jobs = plan_files([tmp_path / "album"], tmp_path / "out", recursive=True)
        assert [source.name for source, _ in jobs] == ["top.png", "deep.png"]
    finally:
        _flatten(tmp_path / "album")  # what cleans up after tests would recurse


def _dig(folder: Path) -> None:
    here = os.open(folder, os.O_RDONLY)
    for _ in range(1300):
        os.mkdir("d", dir_fd=here)
        deeper = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(os.open("deep.png", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


def _flatten(folder: Path) -> None:
    while (folder / "d").exists():
        (folder / "d").rename(folder.parent / "e")
        folder.rename(folder.parent / f"{folder.name}-")
        folder = (folder.parent / "e").rename(folder)
        for rest in folder.parent.glob(f"{folder.name}-*"):
            shutil.rmtree(rest)
    (folder / "deep.png").unlink(missing_ok=True)


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "album").mkdir()
    write_photo(tmp_path / "album" / "a.png", PICTURE)
    (tmp_path / "album" / "round").symlink_to(tmp_path / "album")
    assert len(plan_files([tmp_path / "album"], tmp_path / "out", recursive=True)) == 1
