"""A folder is run once: what is finished is skipped until photo, artifact, settings or result change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fdikp_edge.runtime.albums.album import Album, run_album
from fdikp_edge.runtime.albums.manifest import MANIFEST_NAME, read_manifest
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.batch import deblur_files
from fdikp_edge.runtime.buckets.buckets import Buckets
from fdikp_edge.runtime.errors import BadInputError, OutputError, OutputExistsError
from fdikp_edge.runtime.images import Photo, write_photo
from PIL import Image

Maker = Callable[..., Artifact]


def photo_at(path: Path, seed: int = 0) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    write_photo(path, Photo(pixels=pixels))


@pytest.fixture
def album(tmp_path: Path) -> Path:
    for number in range(4):
        photo_at(tmp_path / "in" / f"{number}.png", number)
    (tmp_path / "in" / "bad.png").write_bytes(b"no photo")
    return tmp_path / "in"


def run(album: Path, artifact: Artifact, **options: Any) -> Album:
    buckets = Buckets(artifact.path, (artifact,))
    return run_album([album], buckets, album.parent / "out", threads=1, **options)


def counts(album: Album) -> tuple[int, int, int, int]:
    return album.done, album.failed, album.skipped, album.failed_before


def test_only_what_changed_is_done_again(make_artifact: Maker, album: Path) -> None:
    half = make_artifact("half")
    seen: list[int] = []
    first = run(album, half, jobs=2, progress=lambda now: seen.append(now.finished))
    assert counts(first) == (4, 1, 0, 0) and seen == [0, 1, 2, 3, 4, 5]
    assert first.exit_code == 2 and "bad.png" in first.failures[0][1]
    assert counts(run(album, half)) == (0, 0, 4, 1)
    photo_at(album / "1.png", 9)
    assert counts(run(album, half)) == (1, 0, 3, 1)
    (album / "2.png").touch()
    assert counts(run(album, half)) == (0, 0, 4, 1)
    photo_at(album / "bad.png", 5)
    assert counts(run(album, half)) == (1, 0, 4, 0)
    (album.parent / "out" / "0.png").unlink()
    assert counts(run(album, half)) == (1, 0, 4, 0)
    assert counts(run(album, half, halo=2)) == (5, 0, 0, 0)
    assert counts(run(album, make_artifact("identity"), halo=2)) == (5, 0, 0, 0)
    assert counts(run(album, half, halo=2, overwrite=True)) == (5, 0, 0, 0)


def test_results_are_those_of_one_photo_at_a_time(make_artifact: Maker, album: Path, tmp_path: Path) -> None:
    artifact = make_artifact("half")
    run(album, artifact, jobs=3)
    deblur_files([album], artifact, tmp_path / "alone")
    names = sorted(path.name for path in (tmp_path / "alone").iterdir())
    assert names == ["0.png", "1.png", "2.png", "3.png"]
    for name in names:
        assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
    records = {record.output: record for record in read_manifest(tmp_path / "out" / MANIFEST_NAME)}
    assert sorted(records) == [*names, "bad.png"]
    assert "not a photo" in records["bad.png"].reason and records["0.png"].seconds > 0


def test_sessions_that_photos_leave_over_run_tiles(make_artifact: Maker, album: Path) -> None:
    artifact = make_artifact("half")
    for name in ("0", "1", "bad"):
        (album / f"{name}.png").unlink()
    done = run(album, artifact, jobs=5)  # two photos: two sessions for the tiles of each
    assert counts(done) == (2, 0, 0, 0) and done.session["sessions"] == 4
    deblur_files([album], artifact, album.parent / "alone")
    for name in ("2.png", "3.png"):
        assert (album.parent / "alone" / name).read_bytes() == (album.parent / "out" / name).read_bytes()


def test_a_file_that_no_run_wrote_is_not_replaced(make_artifact: Maker, album: Path, tmp_path: Path) -> None:
    artifact = make_artifact("half")
    photo_at(tmp_path / "out" / "3.png", 7)
    with pytest.raises(OutputExistsError, match="exists already"):
        run(album, artifact)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["3.png"]
    assert counts(run(album, artifact, overwrite=True)) == (4, 1, 0, 0)
    (tmp_path / "out" / "0.png").write_bytes(b"edited")
    with pytest.raises(OutputExistsError, match=r"0\.png: was changed since a run wrote it"):
        run(album, artifact)


def test_a_run_killed_between_the_line_and_the_rename(
    make_artifact: Maker, album: Path, tmp_path: Path
) -> None:
    artifact = make_artifact("half")
    run(album, artifact)
    older = (tmp_path / "out" / "0.png").read_bytes()
    photo_at(album / "0.png", 11)
    run(album, artifact)
    (tmp_path / "out" / "0.png").write_bytes(older)  # the newest line is there, its file did not arrive
    assert counts(run(album, artifact)) == (1, 0, 3, 1)


def test_bmp_and_gif_become_png_and_other_kinds_are_counted(make_artifact: Maker, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8)
    for name in ("a.bmp", "b.gif"):
        Image.fromarray(pixels).save(tmp_path / "in" / name)
    for name in ("c.heic", "d.heic", "notes.txt", "README"):
        (tmp_path / "in" / name).write_bytes(b"")
    album = run(tmp_path / "in", make_artifact())
    assert album.passed_over == {".heic": 2, ".txt": 1, "": 1}
    assert album.done == 2
    for name in ("a.png", "b.png"):
        assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / name).convert("L")), pixels)


def test_useless_requests_write_nothing(make_artifact: Maker, album: Path, tmp_path: Path) -> None:
    artifact = make_artifact()
    for options in ({"jobs": 0}, {"quality": 0}, {"halo": 99}):
        with pytest.raises(BadInputError, match=next(iter(options))):
            run(album, artifact, **options)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="is a file"):
        run_album([album], Buckets(artifact.path, (artifact,)), tmp_path / "file")
    assert not (tmp_path / "out").exists()


def test_a_photo_that_changes_while_it_is_read_is_run_again(
    make_artifact: Maker, album: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fdikp_edge.runtime.albums import album as module

    real = module.read_photo

    def meanwhile(path: Path, **options: Any) -> Photo:
        photo = real(path, **options)
        if path.name == "1.png":
            photo_at(path, 77)
        return photo

    monkeypatch.setattr(module, "read_photo", meanwhile)
    first = run(album, make_artifact("half"))
    assert counts(first) == (3, 2, 0, 0)
    assert any("1.png: was changed while it was read" in reason for _, reason in first.failures)
    monkeypatch.setattr(module, "read_photo", real)
    half = make_artifact("half")
    assert counts(run(album, half)) == (1, 0, 3, 1)
    done, source = (np.asarray(Image.open(folder / "1.png")) for folder in (album.parent / "out", album))
    assert np.abs(done * 2.0 - source).max() <= 1, "the result is that of the photo as it is now"


def test_a_result_that_came_into_being_meanwhile_is_left(
    make_artifact: Maker, album: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = album.parent / "out"

    def tell(now: Album) -> None:
        if now.finished == 0:
            (out / "2.png").write_bytes(b"yours")

    done = run(album, make_artifact("half"), progress=tell)
    assert counts(done) == (3, 2, 0, 0) and (out / "2.png").read_bytes() == b"yours"


def test_a_link_below_the_output_folder_is_not_followed(make_artifact: Maker, album: Path) -> None:
    out, elsewhere = album.parent / "out", album.parent / "elsewhere"
    photo_at(album / "sub" / "a.png")
    elsewhere.mkdir()
    out.mkdir()
    (out / "sub").symlink_to(elsewhere, target_is_directory=True)
    with pytest.raises(OutputError, match="sub: is a link"):
        run(album, make_artifact("half"), recursive=True)
    assert list(elsewhere.iterdir()) == []
    (out / "sub").unlink()
    out.rmdir()
    out.symlink_to(elsewhere, target_is_directory=True)  # the folder itself is the user's to choose
    assert run(album, make_artifact("half"), recursive=True).done == 5
