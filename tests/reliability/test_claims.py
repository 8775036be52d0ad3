"""Declared sizes are held against memory, threads against processors; the message has the numbers."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
import small_bundle
from fdikp_edge.runtime import processor
from fdikp_edge.runtime.artifact import Artifact, ArtifactWriter
from fdikp_edge.runtime.errors import BadInputError, SizeError
from fdikp_edge.runtime.sessions import THREADS_PER_PROCESSOR, open_session
from fdikp_edge.runtime.tensors import check_memory

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return Artifact.open(small_bundle.make(tmp_path_factory.mktemp("claims") / "a"))


def test_the_memory_here_is_known() -> None:
    free = processor.available_memory()
    assert free is None or 1 << 20 < free < 1 << 50


def test_an_artifact_too_large_for_this_machine(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "available_memory", lambda: 20 * 10**9)
    passport = artifact.passport
    inputs, outputs = (
        tuple(dataclasses.replace(contract, shape=(1, 3, 16384, 16384)) for contract in ends)
        for ends in (passport.inputs, passport.outputs)
    )
    with ArtifactWriter(tmp_path / "large") as writer:
        (writer.folder / "model.onnx").write_bytes(artifact.model_path.read_bytes())
        large = writer.commit(dataclasses.replace(passport, golden=None, inputs=inputs, outputs=outputs))
    with pytest.raises(SizeError, match=r"at least 25.8 GB of memory, and 20 GB are free"):
        open_session(large)


def test_memory_that_nobody_knows_refuses_nothing(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "available_memory", lambda: None)
    check_memory([dataclasses.replace(artifact.passport.input, shape=(1, 3, 65536, 65536))], "here")


def test_more_threads_than_processors(artifact: Artifact) -> None:
    most = THREADS_PER_PROCESSOR * (os.cpu_count() or 1)
    with pytest.raises(BadInputError, match=f"{most + 1} are far more than the {os.cpu_count()} processors"):
        open_session(artifact, threads=most + 1)


def test_a_size_that_fits_into_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from fdikp_edge.export.lowered import lower_model
    from fdikp_edge.models.sources.find import find

    monkeypatch.setattr(processor, "available_memory", lambda: 20 * 10**9)
    with pytest.raises(SizeError, match="GB of memory"):
        lower_model(find("tiny"), (65536, 65536))
