"""The board, Jetson Linux and CUDA of a machine, from files that this test writes as NVIDIA's are."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fdikp_edge.benchmarks.timing.board import board, l4t
from fdikp_edge.benchmarks.timing.machine import machine_info
from fdikp_edge.runtime.tensorrt import cuda_library
from fdikp_edge.runtime.tensorrt.cuda import open_cuda

sys.path.insert(0, str(Path(__file__).parents[2] / "runtime" / "helpers"))

from fake_cuda import fake_cudart

RELEASE = (
    "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, "
    "DATE: Wed Jan  8 01:49:37 UTC 2025\n# KERNEL_VARIANT: oot\n"
)


@pytest.fixture
def jetson(tmp_path: Path) -> Path:
    files = {
        "proc/device-tree/model": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0",
        "etc/nv_tegra_release": RELEASE,
        "usr/local/cuda/version.json": json.dumps({"cuda": {"name": "CUDA SDK", "version": "12.6.68"}}),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(cuda_library, "candidates", lambda: iter([fake_cudart()._name]))
    open_cuda.cache_clear()
    yield
    open_cuda.cache_clear()


def test_a_jetson_tells_what_it_is(jetson: Path, gpu: None) -> None:
    facts = board(jetson)
    assert facts["board"] == "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super"
    assert (facts["l4t"], facts["gpu"]) == ("36.4.3", "Fake Orin")
    assert facts["cuda"] == "driver 13.0, runtime 12.6, toolkit 12.6.68"


def test_what_a_machine_does_not_tell_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_library, "candidates", lambda: iter([]))
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    open_cuda.cache_clear()
    assert board(tmp_path) == {}
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "nv_tegra_release").write_bytes(b"\xff\0 nothing of the kind")
    (tmp_path / "usr" / "local" / "cuda").mkdir(parents=True)
    (tmp_path / "usr" / "local" / "cuda" / "version.json").write_text('["12.6"]')
    assert not {"board", "l4t", "gpu", "cuda"} & set(board(tmp_path))
    open_cuda.cache_clear()


@pytest.mark.parametrize(
    ("line", "version"),
    [
        (RELEASE, "36.4.3"),
        ("# R38 (release), REVISION: 2.0, GCID: 41844464, BOARD: generic, EABI: aarch64\n", "38.2.0"),
        ("R36", ""),
        ("# R36 (release), REVISION: x", ""),
    ],
)
def test_the_release_of_jetson_linux(line: str, version: str) -> None:
    assert l4t(line) == version


def test_reports_name_the_gpu_of_the_machine(gpu: None) -> None:
    machine = machine_info()
    assert machine["gpu"] == "Fake Orin" and machine["cuda"].startswith("driver 13.0, runtime 12.6")
