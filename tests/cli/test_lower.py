"""`fdikp-edge lower`: what is printed, what is written, and the exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="building a test network needs onnx")


def network(path: Path, *, batch: int | str = 1, length: int | str = 9) -> Path:
    """A file with one DFT node, from x to y."""
    helper = onnx.helper
    axis = onnx.numpy_helper.from_array(np.array(1), "axis")
    graph = helper.make_graph(
        [helper.make_node("DFT", ["x", "", "axis"], ["y"], "transform")],
        "net",
        [helper.make_tensor_value_info("x", 1, [batch, length, 1])],
        [helper.make_tensor_value_info("y", 1, [batch, length, 2])],
        [axis],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    path.write_bytes(model.SerializeToString())
    return path


def test_lower_writes_a_plain_file_and_says_what_it_rewrote(cli: Any, tmp_path: Path) -> None:
    network(tmp_path / "net.onnx")
    done = cli("lower", "net.onnx", "--out", "plain.onnx")
    assert done.returncode == 0
    for part in ("transform", "DFT", "forward", "error to the original in ONNX Runtime"):
        assert part in done.stdout
    assert {node.op_type for node in onnx.load(tmp_path / "plain.onnx").graph.node} == {"Reshape", "MatMul"}


def test_lower_in_json(cli: Any, tmp_path: Path) -> None:
    network(tmp_path / "net.onnx", batch="batch")
    done = cli("lower", "net.onnx", "--out", "plain.onnx", "--json")
    message = json.loads(done.stdout)
    (row,) = message["rewritten"]
    assert row.pop("bytes") == 4 * 9 * 18 and row.pop("shape") == [None, 9] and row.pop("axis") == 1
    assert row.pop("strategy") == "separable" and row.pop("work") == 9 * 18
    assert row == {"name": "transform", "operator": "DFT", "length": 9, "direction": "forward", "output": "y"}
    assert message["check"]["state"] == "verified" and len(message["check"]["errors"]) == 2
    assert message["inputs"] == [{"name": "x", "shape": [None, 9, 1], "dtype": "float32"}]


def test_unchecked_is_called_unverified(cli: Any, tmp_path: Path) -> None:
    network(tmp_path / "net.onnx")
    done = cli("lower", "net.onnx", "--out", "plain.onnx", "--no-check", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["check"]["state"] == "unverified"


def test_an_open_length_is_refused_until_it_is_fixed(cli: Any, tmp_path: Path) -> None:
    network(tmp_path / "net.onnx", length="n")
    done = cli("lower", "net.onnx", "--out", "plain.onnx")
    assert done.returncode == 2 and "transform" in done.stderr and "Traceback" not in done.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["net.onnx"]
    done = cli("lower", "net.onnx", "--out", "plain.onnx", "--input", "x=1x12x1", "--json")
    assert json.loads(done.stdout)["rewritten"][0]["length"] == 12


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("absent.onnx", "--out", "plain.onnx"), "no such file"),
        (("net.onnx", "--out", "net.onnx", "--overwrite"), "is the file that is read"),
        (("net.onnx", "--out", "net.onnx"), "--overwrite"),
        (("net.onnx", "--out", "plain.onnx", "--input", "x"), "NAME=SIZES"),
        (("net.onnx", "--out", "plain.onnx", "--input", "x=1x0x1"), "at least 1"),
        (("net.onnx", "--out", "plain.onnx", "--input", "z=1x9x1"), "no input 'z'"),
        (("net.onnx", "--out", "plain.onnx", "--input", "x=1", "--input", "x=2"), "twice"),
        (("net.onnx", "--out", "net.onnx/plain.onnx"), "not a folder"),
    ],
)
def test_wrong_use_is_one_message(args: tuple[str, ...], message: str, cli: Any, tmp_path: Path) -> None:
    before = network(tmp_path / "net.onnx").read_bytes()
    done = cli("lower", *args)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
    assert (tmp_path / "net.onnx").read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["net.onnx"]


def test_a_wrong_result_is_not_written(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fdikp_edge.export.onnx.source.products import Transform

    right = Transform.matrix
    monkeypatch.setattr(Transform, "matrix", lambda self: -right(self))
    network(tmp_path / "net.onnx")
    done = cli("lower", "net.onnx", "--out", "plain.onnx")
    assert done.returncode == 1 and "differs from" in done.stderr
    assert not (tmp_path / "plain.onnx").exists()


def test_a_file_that_is_no_onnx_file_is_told_from_a_broken_one(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("import torch\n")
    (tmp_path / "broken.onnx").write_text("import torch\n")
    told = cli("lower", "net.py", "--out", "plain.onnx")
    assert told.returncode == 2 and "`export` lower PyTorch networks" in told.stderr.replace("\n", " ")
    broken = cli("lower", "broken.onnx", "--out", "plain.onnx")
    assert broken.returncode == 2 and "not a readable ONNX file" in broken.stderr.replace("\n", " ")
