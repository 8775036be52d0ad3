"""`--verbose` and `--log-file`: steps and where errors come from, and stdout as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def test_a_log_file_holds_the_steps_and_is_continued(
    cli: Any, tmp_path: Path, make_artifact: Callable[..., Path]
) -> None:
    artifact = make_artifact(golden=0.5)
    command = ("--log-file", "run.log", "bench", artifact, "--runs", 3, "--no-eager", "--json")
    done = cli(*command)
    assert done.returncode == 0 and json.loads(done.stdout)
    text = (tmp_path / "run.log").read_text()
    assert "fdikp-edge 0.1.0" in text and "half" in text and text.rstrip().endswith("exit code 0")
    assert "INFO" not in done.stderr
    cli(*command)
    assert (tmp_path / "run.log").read_text().count("exit code 0") == 2


def test_verbose_says_where_an_error_was_raised(cli: Any) -> None:
    quiet, verbose = cli("inspect", "nowhere"), cli("--verbose", "inspect", "nowhere")
    assert quiet.returncode == verbose.returncode == 2
    assert "Traceback" not in quiet.stderr and quiet.stderr.splitlines()[-1] in verbose.stderr
    assert "Traceback" in verbose.stderr and "ArtifactError" in verbose.stderr and verbose.stdout == ""
    assert cli("inspect", "nowhere").stderr == quiet.stderr, "the next command is quiet again"


def test_a_log_cannot_obey_what_a_name_says(cli: Any, tmp_path: Path) -> None:
    cli("--log-file", "run.log", "inspect", "no\x1b[31mwhere")
    assert "\x1b" not in (tmp_path / "run.log").read_text()


def test_a_log_file_that_cannot_be_written_is_an_error(cli: Any, tmp_path: Path) -> None:
    done = cli("--log-file", "missing/run.log", "doctor")
    assert done.returncode == 2 and "--log-file" in done.stderr and done.stdout == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_log_on_a_full_disk_ends_with_one_note(program: Any) -> None:
    done = program("--log-file", "/dev/full", "inspect", "nowhere")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.count("/dev/full: the log ends here: No space left on device") == 1


def test_verbose_in_a_folder_that_is_gone(cli: Any, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    done = cli("--verbose", "inspect", "nowhere")
    assert done.returncode == 2 and "a folder that is gone" in done.stderr and "in log.py" not in done.stderr


def test_a_file_that_is_no_log_is_not_appended_to(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    done = cli("--log-file", "photo.png", "inspect", "nowhere")
    assert done.returncode == 2 and "no log" in done.stderr
    assert (tmp_path / "photo.png").read_bytes() == b"\x89PNG\r\n\x1a\n"
    (tmp_path / "empty.log").touch()
    for _ in range(2):
        assert "no log" not in cli("--log-file", "empty.log", "inspect", "nowhere").stderr
    assert (tmp_path / "empty.log").read_text().count("exit code 2") == 2
