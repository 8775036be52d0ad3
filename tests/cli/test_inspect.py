from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest


def test_table(cli: Any, artifact: Path) -> None:
    done = cli("inspect", artifact)
    assert done.returncode == 0, done.stderr
    for text in (
        "unverified",
        "not verified yet",
        "image: float32 1x3x64x64 NCHW, 0 to 1",
        "model.onnx",
        "body.fft",
        "a window of 300 points",
    ):
        assert text in done.stdout


def test_json_is_the_passport(cli: Any, artifact: Path) -> None:
    done = cli("inspect", artifact, "--json")
    shown = json.loads(done.stdout)
    written = json.loads((artifact / "passport.json").read_bytes())
    del written["passport_sha256"]
    assert shown == {"path": str(artifact), "passport": written}
    assert done.stderr == ""


def test_altered_bytes_are_refused(cli: Any, artifact: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(artifact, tmp_path / "copy")
    model = bytearray((copy / "model.onnx").read_bytes())
    model[-1] ^= 1
    (copy / "model.onnx").write_bytes(model)
    done = cli("inspect", copy)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "model.onnx" in done.stderr and "altered" in done.stderr


def test_a_folder_of_artifacts_is_listed(
    cli: Any, artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    folder = tmp_path / "build"
    for name in ("one", "two"):
        shutil.copytree(artifact, folder / name)
    (folder / "results").mkdir()
    done = cli("inspect", folder)
    assert done.returncode == 0, done.stderr
    for text in ("one", "two", "unverified", "image: float32 1x3x64x64 NCHW, 0 to 1"):
        assert text in done.stdout
    assert f"fdikp-edge inspect {folder / 'one'}" in done.stdout
    shown = json.loads(cli("inspect", folder, "--json").stdout)
    passport = json.loads(cli("inspect", artifact, "--json").stdout)["passport"]
    assert [entry["path"] for entry in shown["artifacts"]] == [str(folder / "one"), str(folder / "two")]
    assert [entry["passport"] for entry in shown["artifacts"]] == [passport, passport]


def test_what_is_no_artifact_is_refused(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for name in ("missing", "file", "folder"):
        done = cli("inspect", tmp_path / name)
        assert done.returncode == 2
        assert str(tmp_path / name) in done.stderr
        assert "Traceback" not in done.stderr


def test_brackets_in_names_are_no_markup(
    cli: Any, artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    for name in ("a[/b]", "[bold red]x"):
        copy = shutil.copytree(artifact, tmp_path / name)
        done = cli("inspect", copy)
        assert done.returncode == 0, done.stderr
        shown = "".join(done.stdout.split())  # a title may be broken at its spaces
        assert "".join(name.split()) in shown


def test_words_of_a_foreign_plan_are_no_markup(
    cli: Any, artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    from fdikp_edge.runtime.strict_json import digest

    copy = shutil.copytree(artifact, tmp_path / "copy")
    passport = json.loads((copy / "passport.json").read_bytes())
    del passport["passport_sha256"]
    for site in passport["plan"]:
        site["[/x]"] = "[link=http://host]here[/link] [/y]"
    passport["passport_sha256"] = digest(passport)
    (copy / "passport.json").write_text(json.dumps(passport))
    done = cli("inspect", copy)
    assert done.returncode == 0, done.stderr
    assert "[link=http://host]" in done.stdout and "\x1b" not in done.stdout
