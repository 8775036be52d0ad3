"""Every reader of outside files refuses what is no regular file, and does not wait for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fdikp_edge.benchmarks.accuracy.error_map import read_map
from fdikp_edge.benchmarks.gate.baseline import read_baseline
from fdikp_edge.benchmarks.report.read import read_report
from fdikp_edge.benchmarks.telemetry.tegrastats import read_recording
from fdikp_edge.calibration.table import read_table
from fdikp_edge.models.checkpoint import read_tensors
from fdikp_edge.models.sources.base import TensorSpec
from fdikp_edge.models.sources.find import find
from fdikp_edge.models.sources.samples import read_sample
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.device.bundle import check_bundle
from fdikp_edge.runtime.errors import FdikpEdgeError
from fdikp_edge.runtime.images import read_photo
from fdikp_edge.runtime.mil import Package
from fdikp_edge.runtime.sessions.onnx_guard import external_locations

Within = Callable[[Callable[[], Any]], Any]
_SPECS = (TensorSpec("x", (1, 3, 8, 8)),)


def _passport(file: Path) -> object:
    folder = file.parent / "artifact"
    folder.mkdir()
    file.rename(folder / "passport.json")
    return Artifact.open(folder)


def _package(file: Path) -> object:
    folder = file.parent / "m.mlpackage"
    folder.mkdir()
    file.rename(folder / "Manifest.json")
    return Package.open(folder)


def _report_folder(file: Path) -> object:
    folder = file.parent / "report"
    folder.mkdir()
    file.rename(folder / "report.json")
    return read_report(folder)


READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "table": ("x.json", read_table),
    "report": ("x.json", read_report),
    "report in a folder": ("x.json", _report_folder),
    "baseline": ("x.json", read_baseline),
    "recording": ("x.log", read_recording),
    "error map": ("x.png", read_map),
    "photo": ("x.jpg", read_photo),
    "safetensors": ("x.safetensors", lambda file: read_tensors(file, max_bytes=1 << 20)),
    "pth": ("x.pth", lambda file: read_tensors(file, max_bytes=1 << 20)),
    "npy": ("x.npy", lambda file: read_sample(file, _SPECS)),
    "npz": ("x.npz", lambda file: read_sample(file, _SPECS)),
    "pt2": ("x.pt2", lambda file: find(str(file)).load()),
    "code": ("x.py", lambda file: find(f"{file}:Net").load()),
    "onnx source": ("x.onnx", lambda file: find(str(file)).load()),
    "onnx model": ("x.onnx", external_locations),
    "bundle": ("x.bundle", check_bundle),
    "passport": ("x.json", _passport),
    "package": ("x.json", _package),
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
@pytest.mark.parametrize("reader", READERS)
def test_a_pipe_is_refused_at_once(reader: str, tmp_path: Path, within: Within) -> None:
    name, read = READERS[reader]
    os.mkfifo(tmp_path / name)
    with pytest.raises(FdikpEdgeError):
        within(lambda: read(tmp_path / name))


@pytest.mark.parametrize("reader", READERS)
def test_a_link_to_itself_is_refused(reader: str, tmp_path: Path) -> None:
    name, read = READERS[reader]
    (tmp_path / name).symlink_to(tmp_path / name)
    with pytest.raises(FdikpEdgeError):
        read(tmp_path / name)


@pytest.mark.parametrize("reader", READERS)
def test_a_device_is_refused(reader: str, tmp_path: Path, within: Within) -> None:
    name, read = READERS[reader]
    if not Path("/dev/zero").exists():
        pytest.skip("no /dev/zero on this system")
    (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(FdikpEdgeError):
        within(lambda: read(tmp_path / name))


@pytest.mark.parametrize("reader", sorted(READERS.keys() - {"package", "passport", "report in a folder"}))
def test_a_nul_in_the_name_is_refused(reader: str, tmp_path: Path) -> None:
    name, read = READERS[reader]
    with pytest.raises(FdikpEdgeError):
        read(tmp_path / f"a\0{name}")


@pytest.mark.parametrize("reader", ["table", "report", "baseline", "recording", "error map", "safetensors"])
def test_a_sparse_file_is_refused_before_it_is_read(reader: str, tmp_path: Path, within: Within) -> None:
    name, read = READERS[reader]
    with (tmp_path / name).open("wb") as file:
        file.truncate(20 << 30)
    with pytest.raises(FdikpEdgeError, match="larger than"):
        within(lambda: read(tmp_path / name))
