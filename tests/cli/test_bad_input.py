"""What is refused before any work starts: one message, exit code 2, nothing written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fdikp_edge.runtime.installed.packages import Requirement

BUILDS = ("deploy", "export")


@pytest.mark.parametrize("command", BUILDS)
@pytest.mark.parametrize(
    ("args", "messages"),
    [
        (["--model", "tyny"], ["tyny", "tiny, small, base"]),
        (["--model", "missing.safetensors"], ["missing.safetensors"]),
        (["--model", "text.safetensors"], ["text.safetensors"]),
        (["--size", "300x256"], ["300x256", "multiple of 128", "256x256, 384x256"]),
        (["--size", "100x100"], ["100x100", "Nearest valid sizes: 256x256"]),
        (["--model", "base", "--size", "33x64"], ["33x64", "32x64, 64x64"]),
        (["--size", "large"], ["--size 256x384"]),
        (["--target", "onnx", "--target", "onyx"], ["onyx", "onnx, openvino"]),
        (["--precision", "fp8"], ["fp8", "fp32"]),
        (["--contract", "uint16"], ["uint16", "float", "uint8"]),
        (["--what"], ["--what"]),
        (["surplus"], ["surplus"]),
    ],
)
def test_a_build_is_refused(
    command: str, args: list[str], messages: list[str], cli: Any, tmp_path: Path
) -> None:
    (tmp_path / "text.safetensors").write_text("these are no weights")
    done = cli(command, *args, "--out", "out")
    assert done.returncode == 2, done.stdout
    for message in messages:
        assert message in done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["text.safetensors"]


@pytest.mark.parametrize("command", BUILDS)
def test_a_place_that_cannot_be_written(command: str, cli: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = cli(command, "--target", "onnx", "--out", "file/below")
    assert done.returncode == 2
    assert "file" in done.stderr and "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("command", BUILDS)
def test_what_is_there_already_is_kept(command: str, cli: Any, tmp_path: Path) -> None:
    place = tmp_path / "out" / "tiny-onnx-fp32-256x256"
    place.mkdir(parents=True)
    (place / "passport.json").write_text("{}")
    done = cli(command, "--target", "onnx", "--out", "out")
    assert done.returncode == 2
    assert "exists already" in done.stderr and "--overwrite" in done.stderr
    assert (place / "passport.json").read_text() == "{}"


@pytest.mark.parametrize("command", ["verify", "bench"])
def test_no_artifact(command: str, cli: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for place in ("missing", "empty"):
        done = cli(command, place)
        assert done.returncode == 2
        assert place in done.stderr and "Traceback" not in done.stderr


def test_an_artifact_whose_network_is_not_known(cli: Any, artifact: Path) -> None:
    done = cli("verify", artifact)
    assert done.returncode == 2
    assert "'half'" in done.stderr and "--model" in done.stderr


def test_an_artifact_without_a_recorded_photo(cli: Any, artifact: Path) -> None:
    for args in (["verify", artifact, "--golden"], ["bench", artifact, "--no-eager"]):
        done = cli(*args)
        assert done.returncode == 2
        assert "golden" in done.stderr


@pytest.mark.parametrize("command", BUILDS)
def test_a_precision_that_a_target_never_has_comes_before_what_is_not_installed(
    command: str, cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Requirement, "version", lambda self: None)
    done = cli(command, "--target", "executorch", "--precision", "bf16", "--out", "out")
    assert done.returncode != 0 and "bfloat16 was not tried with ExecuTorch" in done.stderr
    assert "not installed" not in done.stderr
    done = cli(command, "--target", "executorch", "--precision", "fp32", "--out", "out")
    assert "executorch is not installed" in done.stderr
