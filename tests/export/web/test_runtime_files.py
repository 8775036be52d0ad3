"""The runtime's files: the pinned ones or none, and an error that says what to do."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fdikp_edge.export.targets import Target, capability, get_target, select
from fdikp_edge.export.web import download
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


def test_all_downloads_nothing_and_a_named_target_does(
    web_files: dict[str, bytes], no_cache: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")

    def web(*names: str) -> Target:
        return next(target for target, _ in select(names, ["fp32"]) if target.name == "web")

    unasked = capability(web("all"))
    assert not unasked.can_build
    assert "`all` downloads nothing" in unasked.reason and "--target web" in unasked.reason
    for named in (("web",), ("all", "web"), ("web:provider=wasm", "all")):
        assert capability(web(*named)).can_build, named
    place = tmp_path / "cache" / "fdikp-edge" / "onnxruntime-web-1.30.0"
    for name, data in web_files.items():
        (place / name).write_bytes(data)
    assert capability(web("all")).can_build


@pytest.mark.parametrize(
    ("provider", "precision", "expected"),
    [
        ("auto", "fp32", ["wasm", "webgpu"]),
        ("auto", "fp16", ["wasm", "webgpu"]),
        ("auto", "int8", ["wasm"]),
        ("wasm", "fp16", ["wasm"]),
        ("webgpu", "fp32", ["webgpu"]),
        ("webgpu", "int8", ["webgpu"]),
    ],
)
def test_a_page_gets_the_files_it_may_load(provider: str, precision: str, expected: list[str]) -> None:
    names = files.needed(provider, precision)
    assert names == tuple(name for kind in expected for name in files.PROVIDERS[kind])


def test_the_download_is_told_with_its_compressed_sizes(
    web_files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figures of the pinned files are counted again, where that takes a second."""
    for provider, names in files.PROVIDERS.items():
        size = sum(len(gzip.compress(web_files[name])) for name in names)
        assert size == pytest.approx(download.COMPRESSED[provider][0], rel=0.01), provider
    model = bytes(1_000_000)
    wasm = {name: web_files[name] for name in files.PROVIDERS["wasm"]}
    note = download.download_note(model, wasm)
    assert note.startswith("download: model 1.0 MB (0.0 MB with gzip")
    assert "runtime for WebAssembly 14.3 MB (3.7 MB with gzip, 2.7 MB with Brotli)" in note
    assert "WebGPU" not in note
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "model 1.0 MB (0.0 MB with gzip);" in download.download_note(model, wasm)


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_brotli_makes_regular_data_small_and_noise_not() -> None:
    noise = np.random.default_rng(0).bytes(50_000)
    small, large = download.brotli_size(bytes(50_000)), download.brotli_size(noise)
    assert small is not None and small < 100
    assert large is not None and 50_000 <= large < 50_200


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
