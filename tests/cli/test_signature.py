"""Signatures on the command line: every command that opens an artifact refuses what the key did not sign."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PHOTO = Path(__file__).parents[2] / "runtime" / "samples" / "coffee.jpg"
COMMANDS = {
    "run": ("run", PHOTO, "--out", "out.png", "--artifact"),
    "deblur": ("deblur", PHOTO, "--out", "out.png", "--artifact"),
    "verify": ("verify", "--golden"),
    "bench": ("bench", "--no-eager", "--runs", 3, "--seconds", 0.1),
    "profile": ("profile", "--queries", 1, "--seconds", 0.1, "--idle", 0, "--soak", 0, "--no-layers"),
    "inspect": ("inspect",),
    "bundle": ("bundle", "--out", "a.bundle"),
}


@pytest.fixture
def signing(cli: Any, make_artifact: Callable[..., Path], tmp_path: Path) -> Path:
    """An artifact that team.key signed."""
    pytest.importorskip("cryptography", reason="signatures need cryptography")
    artifact = tmp_path / "a"
    shutil.copytree(make_artifact(golden=0.5), artifact)
    assert cli("keygen", "--out", "team.key").returncode == 0
    done = cli("sign", artifact, "--key", "team.key", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["signatures"] == [
        str(artifact / "signature.json")
    ]
    return artifact


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_opens_what_was_signed_and_nothing_else(cli: Any, signing: Path, name: str) -> None:
    words = (*COMMANDS[name], signing, "--require-signature")
    right = cli(*words, "team.key.pub")
    assert right.returncode in (0, 1), right.stderr  # a profile this short does not conform
    assert cli("keygen", "--out", "other.key").returncode == 0
    for name in ("out.png", "a.bundle", "profile.json"):
        (signing.parent / name).unlink(missing_ok=True)
    for key, expected in (
        ("other.key.pub", "another key"),
        ("team.key", "private key"),
        ("no", "no such file"),
    ):
        done = cli(*words, key)
        assert done.returncode == 2 and expected in done.stderr and done.stderr.count("\n") == 1, done.stderr
    (signing / "signature.json").unlink()
    done = cli(*words, "team.key.pub")
    assert done.returncode == 2 and "is not signed" in done.stderr and done.stderr.count("\n") == 1
    assert not (signing.parent / "out.png").exists()


def test_the_requirement_ends_with_the_command(cli: Any, signing: Path) -> None:
    (signing / "signature.json").unlink()
    assert cli("inspect", signing, "--require-signature", "team.key.pub").returncode == 2
    assert cli("inspect", signing).returncode == 0


def test_it_can_stand_in_a_configuration_file(cli: Any, signing: Path, tmp_path: Path) -> None:
    (signing / "signature.json").unlink()
    (tmp_path / "fdikp-edge.toml").write_text('require-signature = "team.key.pub"\n')
    done = cli("inspect", signing)
    assert done.returncode == 2 and "is not signed" in done.stderr


def test_a_bundle_has_its_signature_beside_it(cli: Any, signing: Path, tmp_path: Path) -> None:
    assert cli("bundle", signing, "--out", "a.bundle").returncode == 0
    asked = ("inspect", "a.bundle", "--require-signature", "team.key.pub")
    done = cli(*asked)
    assert done.returncode == 2 and "a.bundle: is not signed" in done.stderr
    assert cli("sign", "a.bundle", "--key", "team.key").returncode == 0
    done = cli(*asked)
    assert done.returncode == 0 and "(checked)" in " ".join(done.stdout.split())
    (tmp_path / "a.bundle").write_bytes((tmp_path / "a.bundle").read_bytes() + b"x")
    done = cli(*asked)
    assert done.returncode == 2 and "changed after it was signed" in done.stderr


def test_keys_are_not_replaced_and_signatures_only_when_asked(
    cli: Any, signing: Path, tmp_path: Path
) -> None:
    before = (tmp_path / "team.key").read_bytes()
    done = cli("keygen", "--out", "team.key")
    assert done.returncode == 2 and "--overwrite" not in done.stderr
    assert (tmp_path / "team.key").read_bytes() == before
    assert cli("sign", signing, "--key", "team.key").returncode == 0  # the same again
    assert cli("keygen", "--out", "other.key").returncode == 0
    done = cli("sign", signing, "--key", "other.key")
    assert done.returncode == 2 and "--overwrite" in done.stderr
    assert cli("sign", signing, "--key", "other.key", "--overwrite").returncode == 0
    assert cli("inspect", signing, "--require-signature", "other.key.pub").returncode == 0


def test_without_the_library_and_without_torch(
    cli: Any, signing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert cli("verify", signing, "--require-signature", "team.key.pub").returncode == 0
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric", None)
    for words in (("keygen", "--out", "k"), ("verify", signing, "--require-signature", "team.key.pub")):
        done = cli(*words)
        assert done.returncode == 2 and 'pip install "fdikp-edge[sign]"' in done.stderr
    assert cli("inspect", signing).returncode == 0
