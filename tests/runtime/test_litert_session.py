"""The session of `litert`: PyTorch's results from a real file, from any thread, and typed errors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fdikp_edge.runtime.artifact import Artifact, ArtifactWriter
from fdikp_edge.runtime.errors import ArtifactError, BadInputError, RunError, TargetUnavailableError
from fdikp_edge.runtime.sessions import open_session
from runtime_networks import contract, passport

DATA = Path(__file__).parent / "outside" / "data"
OUT = replace(contract("out", (8, 8), "float"), value_range=(-8, 8))


def artifact(folder: Path, data: bytes | None = None, **fields: object) -> Artifact:
    with ArtifactWriter(folder) as writer:
        (writer.folder / "model.tflite").write_bytes(data or (DATA / "small.tflite").read_bytes())
        return writer.commit(
            passport((8, 8), target="litert", model_file="model.tflite", **{"outputs": (OUT,), **fields})
        )


def test_results_are_pytorchs_from_several_threads(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed (extra litert)")
    golden = np.load(DATA / "small.npz")
    with open_session(artifact(tmp_path / "a"), threads=1) as session, ThreadPoolExecutor(2) as pool:
        first = session.run(golden["x"])
        rest = list(pool.map(session.run, [golden["x"] * k for k in (0, 1, 0, 1)]))
        assert session.describe()["runtime"] == "LiteRT"
        with pytest.raises(BadInputError, match="expected float32"):
            session.run(np.zeros((1, 3, 8, 9), np.float32))
    assert np.abs(first - golden["y"]).max() < 1e-6
    assert np.array_equal(rest[1], first) and np.array_equal(rest[0], rest[2])
    assert not np.array_equal(rest[0], rest[1])
    with pytest.raises(RunError, match="closed"):
        session.run(golden["x"])
    session.close()


def test_a_file_that_is_something_else_is_refused_in_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed (extra litert)")
    with pytest.raises(ArtifactError, match=r"not a usable \.tflite file"):
        open_session(artifact(tmp_path / "cut", (DATA / "small.tflite").read_bytes()[:900]))
    with pytest.raises(ArtifactError, match="the passport says"):
        open_session(artifact(tmp_path / "name", outputs=(replace(OUT, name="sharp"),)))
    with pytest.raises(ArtifactError, match=r"is a \.tflite file"):
        with ArtifactWriter(tmp_path / "suffix") as writer:
            (writer.folder / "model.onnx").write_bytes(b"x" * 100)
            other = writer.commit(passport((8, 8), target="litert", model_file="model.onnx"))
        open_session(other)


def test_without_the_runtime_the_error_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ai_edge_litert", None)
    monkeypatch.setitem(__import__("sys").modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(TargetUnavailableError, match=r"fdikp-edge\[litert\]"):
        open_session(artifact(tmp_path / "a"))
