"""Hostile files and words end in one short message and exit code 2 of the command line."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import small_bundle
from fdikp_edge.cli.main import app

Cli = Callable[..., tuple[int, str]]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    """Run a command in an empty folder; return its exit code and what it printed on stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*args: object) -> tuple[int, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as leaving:
            app([str(arg) for arg in args], prog_name="fdikp-edge")
        code = leaving.value.code
        return code if isinstance(code, int) else 0, capfd.readouterr().err

    return run


def on_several_disks() -> bytes:
    """Return an archive whose end records say that there is more of it on other disks."""
    end64 = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, 0, 0, 0, 0)
    locator = struct.pack("<IIQI", 0x07064B50, 1, 0, 5)
    return end64 + locator + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0, 0, 0, 0, 0)


def test_an_archive_on_several_disks(cli: Cli, tmp_path: Path) -> None:
    for name in ("x", "x.zip", "x.bundle"):
        (tmp_path / name).write_bytes(on_several_disks())
        code, message = cli("inspect", name)
        assert code == 2 and name in message


def test_messages_are_short_whatever_a_file_holds(cli: Cli, tmp_path: Path) -> None:
    header = json.dumps({"k" * 5000: 1})[:-1] + ', "' + "k" * 5000 + '": 1}'
    data = struct.pack("<Q", len(header)) + header.encode()
    (tmp_path / "x.safetensors").write_bytes(data)
    code, message = cli("deploy", "--model", "x.safetensors", "--target", "onnx")
    assert code == 2
    assert "x.safetensors" in message
    assert len(message) < 1000


def test_messages_are_short_whatever_is_typed(cli: Cli, tmp_path: Path) -> None:
    artifact = small_bundle.make(tmp_path / "a")
    code, message = cli("deblur", "y" * 5000, "--artifact", artifact, "--out", "out")
    assert code == 2
    assert len(message) < 2500


@pytest.mark.parametrize(
    "words",
    [
        ("deblur", "", "--artifact", "a"),
        ("deblur", "p.png", "--artifact", ""),
        ("deblur", "p.png", "--artifact="),
        ("deblur", "p.png", "--artifact", "a", "--out", " "),
        ("verify", ""),
        ("inspect", ""),
        ("report", "merge", "", "b", "--out", "c"),
        ("export", "--out", ""),
        ("gate", "a", "--baseline", ""),
    ],
)
def test_empty_words_are_no_paths(words: tuple[str, ...], cli: Cli, tmp_path: Path) -> None:
    small_bundle.make(tmp_path / "a")
    before = sorted(tmp_path.rglob("*"))
    code, message = cli(*words)
    assert code == 2
    assert "empty value" in message
    assert sorted(tmp_path.rglob("*")) == before
