"""The comparison of converters: counting, and a run on two tiny networks in a worker of its own."""

from __future__ import annotations

import importlib.util
import json
import textwrap
from pathlib import Path

import pytest
from fdikp_edge.benchmarks.studies import peers
from fdikp_edge.benchmarks.studies.peer_routes import Entry, largest_error, load_networks

COLLECTION = """
import os, time
import torch

class Half(torch.nn.Module):
    def forward(self, x):
        return torch.fft.irfft(torch.fft.rfft(x) * (2 + 1j), n=x.shape[-1])

class Dies(torch.nn.Module):
    def forward(self, x):
        os._exit(3)

class Sleeps(torch.nn.Module):
    def forward(self, x):
        time.sleep(60)

class Network:
    def __init__(self, name, module):
        self.name, self.module = name, module
    def build(self):
        return self.module.eval()
    def inputs(self):
        return (torch.randn(3, 6, generator=torch.Generator().manual_seed(0)),)

NETWORKS = [Network("half", Half()), Network("dies", Dies()), Network("sleeps", Sleeps())]
"""


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    path = tmp_path / f"networks_of_{tmp_path.name}.py"
    path.write_text(textwrap.dedent(COLLECTION))
    return path


def test_totals_count_usable_files_only() -> None:
    states = ["right", "taken", "wrong", "refused", "crashed", "hung"]
    entries = [Entry(s, "onnx", lowered, s, 0.0) for s in states for lowered in (False, True)]
    entries += [Entry("x", "coreml", lowered, "missing", 0.0) for lowered in (False, True)]
    totals = peers.totals(entries)
    assert totals == {
        "onnx": {"of": 6, "direct": 2, "lowered": 2},
        "coreml": {"of": 0, "direct": 0, "lowered": 0},
    }


def test_errors_are_relative_to_the_largest_value() -> None:
    assert largest_error([[10.0, 0.0]], [[10.0, 0.1]]) == pytest.approx(0.01)
    assert largest_error([[float("nan")]], [[1.0]]) == float("inf")
    assert largest_error([[1.0, 2.0]], [[1.0]]) == float("inf")
    assert largest_error([[0.0]], [[0.0]]) == 0.0


def test_a_converter_that_dies_or_hangs_costs_one_entry(collection: Path) -> None:
    pytest.importorskip("torch")
    worker = peers.Worker(seconds=20)
    try:
        assert worker.convert(collection, "dies", "onnx", False).state == "crashed"
        worker._seconds = 8
        assert worker.convert(collection, "sleeps", "onnx", False).state == "hung"
        worker._seconds = 120
        good = worker.convert(collection, "half", "onnx", True)
        assert (good.state, good.good) == ("right", True), good.detail
    finally:
        worker.kill()


def test_the_command_prints_a_table_and_writes_json(
    collection: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in ("torch", "openvino"):
        pytest.importorskip(module)
    out = tmp_path / "peers.json"
    arguments = ["--networks", str(collection), "--only", "half", "--route", "onnx", "tensorrt-rtx"]
    assert peers.main([*arguments, "--json", str(out)]) == 0
    document = json.loads(out.read_text())
    assert document["totals"]["onnx"] == {"of": 1, "direct": 1, "lowered": 1}
    if importlib.util.find_spec("tensorrt_rtx"):
        assert document["totals"]["tensorrt-rtx"] == {"of": 1, "direct": 0, "lowered": 1}
    assert "lowered first" in capsys.readouterr().out


def test_wrong_use_is_said(collection: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        peers.main(["--networks", str(collection), "--only", "nonesuch"])
    assert "half, dies, sleeps" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="no collection"):
        load_networks(tmp_path / "absent.py")


def test_each_network_is_announced_when_it_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    names = peers.announced(["fno[1d]", "gfnet"])
    assert next(names) == "fno[1d]"
    assert capsys.readouterr().err == "[1/2] fno[1d]\n"
    assert list(names) == ["gfnet"]
    assert capsys.readouterr().err == "[2/2] gfnet\n"
