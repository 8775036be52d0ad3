from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fdikp_edge.runtime.samples import sample_photo
from PIL import Image


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.new("RGB", (100, 70), (200, 100, 40)).save(path)
    return path


def test_one_photo(cli: Any, artifact: Path, photo: Path, tmp_path: Path) -> None:
    done = cli("deblur", photo, "--artifact", artifact, "--out", "half.png")
    assert done.returncode == 0, done.stderr
    assert "half.png" in done.stdout and "ONNX Runtime" in done.stdout
    with Image.open(tmp_path / "half.png") as result:
        assert result.size == (100, 70)
        assert np.array_equal(np.unique(np.asarray(result).reshape(-1, 3), axis=0), [[100, 50, 20]])


def test_json_and_the_default_folder(cli: Any, artifact: Path, photo: Path, tmp_path: Path) -> None:
    done = cli("deblur", photo, sample_photo(), "--artifact", artifact, "--json", "--threads", 1)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert shown["session"]["threads"] == 1
    assert [row["size"] for row in shown["photos"]] == [[70, 100], [400, 600]]
    assert (tmp_path / "results" / "photo.png").exists()
    assert (tmp_path / "results" / "coffee.jpg").exists()


def test_the_tiles_of_one_photo_run_on_several_sessions(
    cli: Any, artifact: Path, photo: Path, tmp_path: Path
) -> None:
    assert cli("run", photo, "-a", artifact, "--out", "alone.png").returncode == 0
    done = cli("run", photo, "-a", artifact, "--out", "both.png", "--jobs", 2, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["session"]["sessions"] == 2
    assert (tmp_path / "both.png").read_bytes() == (tmp_path / "alone.png").read_bytes()
    shown = cli("run", photo, "-a", artifact, "--out", "both.png", "--jobs", 2, "--overwrite")
    assert "in each of 2 sessions" in shown.stdout
    assert not (tmp_path / "results.jsonl").exists()


def test_a_bad_photo_does_not_stop_the_others(cli: Any, artifact: Path, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_text("this is not an image")
    done = cli("deblur", tmp_path / "bad.jpg", photo, "--artifact", artifact, "--out", "out")
    assert done.returncode == 2
    assert "bad.jpg" in done.stderr and "Traceback" not in done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["photo.png"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["missing.jpg"], "missing.jpg"),
        (["empty"], "no photos"),
        (["photo.png", "--out", "photo.png"], "is the input itself"),
        (["photo.png", "--out", "there.png"], "exists already"),
        (["photo.png", "--out", "x.bmp"], "cannot tell the format"),
        (["photo.png", "--suffix", ".gif"], "expected one of"),
        (["photo.png", "--halo", "40"], "halo"),
        (["photo.png", "--threads", "0"], "--threads"),
        (["photo.png", "--quality", "0"], "quality"),
    ],
)
def test_bad_use_says_what_is_wrong_and_writes_nothing(
    args: list[str], message: str, cli: Any, artifact: Path, photo: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "there.png").write_bytes(b"mine")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    done = cli("deblur", *args, "--artifact", artifact)
    assert done.returncode == 2, done.stdout
    assert message in done.stderr
    assert "Traceback" not in done.stderr and done.stdout.count("\n") < 10
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_an_unwritable_folder(cli: Any, artifact: Path, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = cli("deblur", photo, "--artifact", artifact, "--out", "file/below")
    assert done.returncode == 2
    assert "file" in done.stderr and "Traceback" not in done.stderr


def test_not_an_artifact(cli: Any, photo: Path) -> None:
    done = cli("deblur", photo, "--artifact", "nowhere")
    assert done.returncode == 2
    assert "nowhere: no such folder" in done.stderr


def test_names_that_no_terminal_can_show(program: Any, artifact: Path, photo: Path, tmp_path: Path) -> None:
    """Whatever stdout can write, the work is done, the JSON is JSON, and escape sequences stay out."""
    odd = tmp_path / "a\x1b[31mb\u00e9.png"
    photo.rename(odd)
    for args in ((), ("--json",)):
        done = program(
            "deblur", odd, "--artifact", artifact, "--overwrite", *args, env={"PYTHONIOENCODING": "ascii"}
        )
        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stdout + done.stderr
    assert json.loads(done.stdout)["photos"][0]["source"] == str(odd)


def test_the_limit_on_megapixels(cli: Any, artifact: Path, tmp_path: Path) -> None:
    Image.new("1", (1200, 1000)).save(tmp_path / "large.png")
    done = cli("deblur", "large.png", "--artifact", artifact, "--max-megapixels", 1)
    assert done.returncode == 2 and "1000000 pixels allowed" in done.stderr
    assert cli("deblur", "large.png", "--artifact", artifact, "--max-megapixels", 2).returncode == 0


@pytest.mark.parametrize(
    ("words", "option", "reason"),
    [
        (["photo.png", "--every", "2"], "--every", "for a video or a camera only"),
        (["photo.png", "--side-by-side"], "--side-by-side", "for a video or a camera only"),
        (["clip.mp4", "--suffix", ".png"], "--suffix", "for photos only"),
        (["--camera", "0", "--tile", "auto"], "--tile", "for photos only"),
        (["clip.mp4", "--ray", "local"], "--ray", "run a video on one machine"),
    ],
)
def test_options_that_mean_nothing_for_an_input_are_refused(
    words: list[str], option: str, reason: str, cli: Any, tmp_path: Path
) -> None:
    done = cli("run", *words, "--artifact", "nothing", "--out", "out.mp4")
    assert done.returncode == 2 and option in done.stderr and reason in done.stderr
    assert not (tmp_path / "out.mp4").exists()


def test_a_choice_that_does_not_exist_is_told_without_the_librarys_words(program: Any) -> None:
    done = program("run", "photo.png", "--artifact", "nothing", "--tile", "automatic")
    assert done.returncode == 2 and "'automatic' is not one of 'passport', 'auto'" in done.stderr
    assert "Value error" not in done.stderr


def test_a_repository_without_its_owner_is_no_variant(cli: Any) -> None:
    done = cli("deploy", "--model", "hf:nobody", "--target", "onnx")
    assert done.returncode == 2 and "write hf:ORG/NAME" in done.stderr
