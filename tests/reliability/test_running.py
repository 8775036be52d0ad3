"""A model that loads and then fails, or that is not what its target's runtime reads, is one typed error."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_bundle
from fdikp_edge.runtime.artifact import Artifact, ArtifactWriter
from fdikp_edge.runtime.errors import ArtifactError, RunError
from fdikp_edge.runtime.passport import Passport
from fdikp_edge.runtime.sessions import open_session
from fdikp_edge.runtime.sessions.base import MAX_REASON, Session, reason

X = np.zeros(small_bundle.SHAPE, np.float32)


def rewritten(source: Artifact, folder: Path, files: dict[str, bytes], **fields: Any) -> Artifact:
    """Return an artifact of other files, hashed as an attacker would."""
    with ArtifactWriter(folder) as writer:
        for name, data in files.items():
            (writer.folder / name).write_bytes(data)
        return writer.commit(dataclasses.replace(source.passport, golden=None, **fields))


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return Artifact.open(small_bundle.make(tmp_path_factory.mktemp("running") / "a"))


def expanding() -> bytes:
    """Return an ONNX model that promises a small output and expands its input a hundred million times."""
    from onnx import TensorProto, helper, numpy_helper

    shape = small_bundle.SHAPE
    sizes = numpy_helper.from_array(np.array([100_000_000, *shape[1:]], np.int64), "sizes")
    body = [
        helper.make_node("Expand", ["image", "sizes"], ["large"]),
        helper.make_node("ReduceMean", ["large"], ["deblurred"], axes=[0], keepdims=1),
    ]
    graph = helper.make_graph(
        body,
        "large",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("deblurred", TensorProto.FLOAT, shape)],
        [sizes],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def test_onnx_runtime_fails_while_it_runs(artifact: Artifact, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    bad = rewritten(artifact, tmp_path / "bad", {"model.onnx": expanding()})
    with open_session(bad, threads=1) as session, pytest.raises(RunError) as caught:
        session.run(X)
    assert "model.onnx failed while it ran" in str(caught.value)
    assert "Expand" in str(caught.value)
    assert len(str(caught.value)) < MAX_REASON + 300


def test_openvino_fails_while_it_runs(artifact: Artifact, tmp_path: Path) -> None:
    ov = pytest.importorskip("openvino")
    (tmp_path / "large.onnx").write_bytes(expanding())
    ov.save_model(ov.Core().read_model(str(tmp_path / "large.onnx")), str(tmp_path / "model.xml"), False)
    files = {name: (tmp_path / name).read_bytes() for name in ("model.xml", "model.bin")}
    bad = rewritten(artifact, tmp_path / "bad", files, target="openvino", model_file="model.xml")
    try:
        session = open_session(bad, threads=1)
    except ArtifactError:
        return
    with session, pytest.raises(RunError) as caught:
        session.run(X)
    assert len(str(caught.value)) < MAX_REASON + 300


@pytest.mark.parametrize("error", [RuntimeError("first\nlast"), MemoryError(), KeyError("x"), SystemError()])
def test_any_exception_of_a_runtime_is_typed(error: Exception, artifact: Artifact) -> None:
    class Failing(Session):
        def _run(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            raise error

        def describe(self) -> dict[str, str | int]:
            return {}

        def close(self) -> None: ...

    with pytest.raises(RunError) as caught:
        Failing(artifact, 1).run(X)
    assert str(artifact.path) in str(caught.value)


def test_the_useful_line_is_kept_and_bounded() -> None:
    text = "Exception from src/cpp/core.cpp:84:\nException from a.cpp:1:\nThe bin file is short\n\n"
    assert reason(RuntimeError(text)) == "The bin file is short"
    assert reason(RuntimeError("Exception from a.cpp:1:")) == "Exception from a.cpp:1:"
    assert reason(RuntimeError("\n")) == "RuntimeError"
    assert len(reason(RuntimeError("x" * 10_000))) <= MAX_REASON + 3
    assert "\x1b" not in reason(RuntimeError("\x1b[31mred"))


def test_openvino_says_why_it_does_not_load(artifact: Artifact, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    files = {"model.xml": b"<?xml version='1.0'?><net name='x' version='11'></net>", "model.bin": b""}
    bad = rewritten(artifact, tmp_path / "bad", files, target="openvino", model_file="model.xml")
    with pytest.raises(ArtifactError) as caught:
        open_session(bad)
    assert "Exception from" not in str(caught.value)


def test_an_onnx_file_under_openvino_is_refused(artifact: Artifact, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    files = {"model.onnx": artifact.model_path.read_bytes(), "model.bin": b"x"}
    bad = rewritten(artifact, tmp_path / "bad", files, target="openvino", model_file="model.onnx")
    with pytest.raises(ArtifactError, match=r"is a \.xml file"):
        open_session(bad)


def test_an_onnx_file_named_xml_is_refused(artifact: Artifact, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    files = {"model.xml": artifact.model_path.read_bytes(), "model.bin": b"x"}
    bad = rewritten(artifact, tmp_path / "bad", files, target="openvino", model_file="model.xml")
    with pytest.raises(ArtifactError, match="not an XML file"):
        open_session(bad)


def test_an_openvino_model_under_onnx_is_refused(artifact: Artifact, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    bad = rewritten(artifact, tmp_path / "bad", {"model.xml": b"<net/>"}, model_file="model.xml")
    with pytest.raises(ArtifactError, match=r"is a \.onnx file"):
        open_session(bad)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_document_type_is_refused(encoding: str, artifact: Artifact, tmp_path: Path) -> None:
    ov = pytest.importorskip("openvino")
    ov.save_model(ov.Core().read_model(str(artifact.model_path)), str(tmp_path / "model.xml"), False)
    text = (tmp_path / "model.xml").read_text()
    head = text.index("?>") + 2
    files = {
        "model.xml": f'{text[:head]}<!DocType net [<!ENTITY a "b">]>{text[head:]}'.encode(encoding),
        "model.bin": (tmp_path / "model.bin").read_bytes(),
    }
    bad = rewritten(artifact, tmp_path / "bad", files, target="openvino", model_file="model.xml")
    with pytest.raises(ArtifactError, match=r"DOCTYPE|not an XML file in UTF-8"):
        open_session(bad)


@pytest.mark.parametrize("limits", [(0, 1e-300), (0.0, 1e-12), (-1e5, 1), (1e5, 1e5 + 1e-3)])
def test_impossible_ranges_of_a_picture_are_refused(limits: tuple[float, float], artifact: Artifact) -> None:
    data = artifact.passport.to_dict()
    data["inputs"][0]["value_range"] = list(limits)
    with pytest.raises(ArtifactError, match="value_range"):
        Passport.from_dict(data)
