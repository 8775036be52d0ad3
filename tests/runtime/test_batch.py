"""Where results go is settled before work starts; one bad photo does not stop the others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.deblur import Progress, deblur_files, plan_files
from fdikp_edge.runtime.errors import ArtifactError, BadInputError, ImageError, OutputError
from fdikp_edge.runtime.images import Photo, read_photo, write_photo

Maker = Callable[..., Artifact]


def photo_at(path: Path, seed: int = 0) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    write_photo(path, Photo(pixels=pixels))
    return path


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_bad_photo_is_a_result_and_the_others_go_on(make_artifact: Maker, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for name in ("a.png", "c.tif"):
        photo_at(folder / name)
    (folder / "b.jpg").write_bytes(b"\xff\xd8\xff nonsense")
    (folder / "notes.txt").write_text("not a photo")
    (folder / ".hidden.png").write_bytes(b"")
    events: list[Progress] = []
    results = deblur_files([folder], make_artifact(), tmp_path / "out", progress=events.append)
    assert [result.source.name for result in results] == ["a.png", "b.jpg", "c.tif"]
    assert [type(result.error) for result in results] == [type(None), ImageError, type(None)]
    assert files_below(tmp_path / "out") == ["a.png", "c.tif"]
    assert np.array_equal(read_photo(tmp_path / "out/c.tif").pixels, read_photo(folder / "c.tif").pixels)
    assert results[0].tiles == events[-1].tiles > 1
    assert (results[0].height, results[0].width) == (40, 50)
    assert {(event.photo, event.photos, event.source) for event in events} == {
        (0, 3, folder / "a.png"),
        (2, 3, folder / "c.tif"),
    }


def test_one_photo_to_a_named_file_in_another_format(make_artifact: Maker, tmp_path: Path) -> None:
    source = photo_at(tmp_path / "a.png")
    deblur_files([source], make_artifact(), tmp_path / "new" / "b.TIF")
    assert read_photo(tmp_path / "new" / "b.TIF").source_format == "TIFF"
    deblur_files([source], make_artifact(), tmp_path / "folder", suffix=".webp")
    assert files_below(tmp_path / "folder") == ["a.webp"]


def test_folders_keep_their_structure_and_results_are_not_taken_as_photos(tmp_path: Path) -> None:
    for name in ("a.png", "sub/a.png", "sub/deep/b.PNG", "out/old.png"):
        photo_at(tmp_path / name)
    out = tmp_path / "out"
    assert plan_files([tmp_path], out) == [(tmp_path / "a.png", out / "a.png")]
    pairs = plan_files([tmp_path], out, recursive=True)
    names = [output.relative_to(out).as_posix() for _, output in pairs]
    assert names == ["a.png", "sub/a.png", "sub/deep/b.PNG"]
    assert len(plan_files([tmp_path, tmp_path / "a.png"], out)) == 1, "the same photo twice is one photo"


def test_collisions_are_refused_before_work_starts(tmp_path: Path) -> None:
    for name in ("x/a.png", "y/a.png", "x/a.tif"):
        photo_at(tmp_path / name)
    with pytest.raises(OutputError, match=r"x/a\.png and .*y/a\.png would both become"):
        plan_files([tmp_path / "x/a.png", tmp_path / "y/a.png"], tmp_path / "out", overwrite=True)
    with pytest.raises(OutputError, match="would both become"):
        plan_files([tmp_path / "x"], tmp_path / "out", suffix=".jpg")


def test_inputs_are_never_overwritten_unless_asked(make_artifact: Maker, tmp_path: Path) -> None:
    source = photo_at(tmp_path / "in" / "a.png")
    before = source.read_bytes()
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "a.png").symlink_to(source)
    (tmp_path / "hard").mkdir()
    os.link(source, tmp_path / "hard" / "a.png")
    (tmp_path / "same").symlink_to(tmp_path / "in")
    for out in ("in", "links", "hard", "same", "in/../in", "in/a.png"):
        with pytest.raises(OutputError, match="the input itself"):
            plan_files([source], tmp_path / out)
    photo_at(tmp_path / "taken" / "a.png", seed=1)
    with pytest.raises(OutputError, match="exists already"):
        plan_files([source], tmp_path / "taken")
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(OutputError, match="exists already"):
        plan_files([source], tmp_path / "dangling.png")
    assert source.read_bytes() == before

    assert deblur_files([source], make_artifact("half"), tmp_path / "hard", overwrite=True)[0].error is None
    assert source.read_bytes() == before, "replacing another name of the input leaves the input"
    assert deblur_files([source], make_artifact("half"), tmp_path / "in", overwrite=True)[0].error is None
    assert source.read_bytes() != before


def test_a_result_never_replaces_another_input_even_with_overwrite(tmp_path: Path) -> None:
    first, second = photo_at(tmp_path / "x/a.png"), photo_at(tmp_path / "y/b.png")
    (tmp_path / "out").mkdir()
    os.link(second, tmp_path / "out" / "a.png")
    with pytest.raises(OutputError, match="would replace the input"):
        plan_files([first, second], tmp_path / "out", overwrite=True)


def test_useless_requests(make_artifact: Maker, tmp_path: Path) -> None:
    source = photo_at(tmp_path / "a.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInputError, match="no photos"):
        plan_files([tmp_path / "empty"], tmp_path / "out")
    with pytest.raises(BadInputError, match="no photos"):
        plan_files([], tmp_path / "out")
    with pytest.raises(OutputError, match="cannot tell the format"):
        plan_files([source], tmp_path / "b.gif")
    with pytest.raises(OutputError, match="expected one of"):
        plan_files([source], tmp_path / "out", suffix="bmp")
    with pytest.raises(OutputError, match="does not end in"):
        plan_files([source], tmp_path / "out.png", suffix=".jpg")
    with pytest.raises(OutputError, match="is a file"):
        plan_files([source, tmp_path / "b.png"], source)
    with pytest.raises(ArtifactError):
        deblur_files([source], tmp_path / "empty", tmp_path / "out")
    with pytest.raises(BadInputError, match="halo"):
        deblur_files([source], make_artifact(), tmp_path / "out", halo=99)
    missing = deblur_files([tmp_path / "none.png"], make_artifact(), tmp_path / "out")
    assert "no such file" in str(missing[0].error)
    assert not (tmp_path / "out").exists()


def test_ctrl_c_keeps_whole_results_and_leaves_no_part_of_one(make_artifact: Maker, tmp_path: Path) -> None:
    for number in range(40):
        photo_at(tmp_path / "in" / f"{number:02}.png")
    out = tmp_path / "out"
    script = f"""
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from fdikp_edge.runtime.deblur import deblur_files
deblur_files([{str(tmp_path / "in")!r}], {str(make_artifact(size=(8, 8)).path)!r}, {str(out)!r})
"""
    running = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while len(list(out.glob("[0-9]*.png"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.002)
    running.send_signal(signal.SIGINT)
    _, printed = running.communicate(timeout=60)
    assert "KeyboardInterrupt" in printed
    done = files_below(out)
    assert 2 <= len(done) < 40
    assert not [name for name in done if name.startswith(".")]
    for name in done:
        read_photo(out / name)
