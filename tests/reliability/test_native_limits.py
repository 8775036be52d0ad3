"""Limits of the shell on memory and time hold while a runtime reads and runs a stranger's model.

The commands of docs/threat-model.md: the model's own memory and time are the runtime's, which knows no bound.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_bundle
from fdikp_edge.runtime.artifact import Artifact, ArtifactWriter
from fdikp_edge.runtime.images import write_photo
from fdikp_edge.runtime.photo import Photo

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="ulimit -v is Linux's")
onnx = pytest.importorskip("onnx", reason="building a test network needs onnx")
pytest.importorskip("onnxruntime", reason="the limits are held against ONNX Runtime")
FREE = {**os.environ, "OMP_NUM_THREADS": "1"}


def model(nodes: Sequence[Any], constants: dict[str, np.ndarray]) -> bytes:
    """Return an ONNX model of these nodes from ``image`` to ``deblurred``, of the small artifact's shape."""
    from onnx import TensorProto, helper, numpy_helper

    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, small_bundle.SHAPE)
        for name in ("image", "deblurred")
    ]
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(list(nodes), "hostile", ports[:1], ports[1:], tensors)
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(whole.SerializeToString())


def large() -> bytes:
    """Return a model of a few bytes that makes 6 GB of ones on its way."""
    from onnx import helper, numpy_helper

    one = numpy_helper.from_array(np.ones(1, np.float32))
    return model(
        [
            helper.make_node("ConstantOfShape", ["sides"], ["ones"], value=one),
            helper.make_node("ReduceMean", ["ones"], ["one"], keepdims=0),
            helper.make_node("Mul", ["image", "one"], ["deblurred"]),
        ],
        {"sides": np.array([1_500_000_000], np.int64)},
    )


def endless() -> bytes:
    """Return a model that halves its input 2**62 times."""
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [
            helper.make_node("Mul", ["x", "half"], ["y"]),
            helper.make_node("Identity", ["going"], ["goes_on"]),
        ],
        "body",
        [
            value("step", TensorProto.INT64, ()),
            value("going", TensorProto.BOOL, ()),
            value("x", TensorProto.FLOAT, small_bundle.SHAPE),
        ],
        [value("goes_on", TensorProto.BOOL, ()), value("y", TensorProto.FLOAT, small_bundle.SHAPE)],
    )
    return model(
        [helper.make_node("Loop", ["times", "go", "image"], ["deblurred"], body=body)],
        {"times": np.array(2**62), "go": np.array(True), "half": np.array(0.5, np.float32)},
    )


def run(data: bytes, limits: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a photo through an artifact of this model, hashed as an attacker would, under limits."""
    sound = Artifact.open(small_bundle.make(folder / "sound"))
    with ArtifactWriter(folder / "bad") as writer:
        (writer.folder / "model.onnx").write_bytes(data)
        writer.commit(dataclasses.replace(sound.passport, golden=None))
    write_photo(folder / "p.png", Photo(np.zeros((32, 32, 3), np.uint8)))
    words = ("run", "p.png", "--artifact", "bad", "--out", "out/p.png", "--threads", "1")
    return subprocess.run(
        ["bash", "-c", f'{limits}; exec "$@"', "bash", sys.executable, "-m", "fdikp_edge", *words],
        cwd=folder, env=FREE, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_memory_that_a_model_asks_for_is_refused(tmp_path: Path) -> None:
    done = run(large(), "ulimit -v 4000000", tmp_path)
    assert done.returncode == 2, done.stderr
    assert "model.onnx failed while it ran" in done.stderr and "size 6000000000" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_model_without_end_is_ended(tmp_path: Path) -> None:
    done = run(endless(), "ulimit -S -c 0; ulimit -S -t 4", tmp_path)
    assert done.returncode == -signal.SIGXCPU, done.stderr
    assert [path.name for path in tmp_path.rglob("*.png*")] == ["p.png"]
