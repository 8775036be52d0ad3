"""The runtime's files: the pinned ones or none, and an error that says what to do."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from fdikp_edge.export.targets import capability, get_target
from fdikp_edge.export.web import runtime_files as files
from fdikp_edge.runtime.errors import BadInputError, TargetUnavailableError


@pytest.fixture
def no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def no_npm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)


def test_without_npm_and_cache_the_error_has_the_command(no_cache: None, no_npm: None) -> None:
    able = capability(get_target("web"))
    assert not able.can_build
    assert "npm pack onnxruntime-web@1.30.0" in able.reason
    with pytest.raises(TargetUnavailableError, match=r"--target web:runtime=DIR"):
        files.runtime_files()
    assert capability(get_target("web:runtime=/some/folder")).can_build
    assert get_target("web:runtime=/some/folder").spec == "web:runtime=/some/folder"


def test_a_folder_at_hand_is_used_and_checked(
    web_files: dict[str, bytes], no_cache: None, no_npm: None, tmp_path: Path
) -> None:
    folder = tmp_path / "project" / "node_modules" / "onnxruntime-web" / "dist"
    folder.mkdir(parents=True)
    for name, data in web_files.items():
        (folder / name).write_bytes(data)
    for place in (folder, folder.parent, tmp_path / "project"):
        assert files.runtime_files(str(place)) == web_files
    (folder / "ort.wasm.min.mjs").write_bytes(web_files["ort.wasm.min.mjs"] + b" ")
    with pytest.raises(BadInputError, match=r"ort\.wasm\.min\.mjs: is not the file of onnxruntime-web"):
        files.runtime_files(str(folder))
    (folder / "ort.wasm.min.mjs").unlink()
    with pytest.raises(BadInputError, match=r"holds no ort\.wasm\.min\.mjs"):
        files.runtime_files(str(folder))


def test_the_cache_is_used_without_npm_and_an_altered_one_is_not(
    web_files: dict[str, bytes], no_cache: None, no_npm: None, tmp_path: Path
) -> None:
    place = tmp_path / "cache" / "fdikp-edge" / "onnxruntime-web-1.30.0"
    place.mkdir(parents=True, mode=0o700)
    for name, data in web_files.items():
        (place / name).write_bytes(data)
    assert files.runtime_files() == web_files
    (place / "ort.webgpu.min.mjs").write_bytes(b"altered")
    with pytest.raises(TargetUnavailableError):
        files.runtime_files()


def test_another_package_is_refused(tmp_path: Path) -> None:
    (tmp_path / "onnxruntime-web-1.30.0.tgz").write_bytes(b"another package")
    with pytest.raises(BadInputError, match="another package than the pinned one"):
        files._unpacked(tmp_path / "onnxruntime-web-1.30.0.tgz")


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_what_npm_says_is_in_the_error(no_cache: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    with pytest.raises(TargetUnavailableError, match=r"npm could not fetch onnxruntime-web 1\.30\.0 \("):
        files.runtime_files()


def test_npm_is_asked_once(web_files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("npm was asked although the files are in the cache")

    monkeypatch.setattr(subprocess, "run", fail)
    assert files.runtime_files() == web_files
