"""Builds real artifacts for the tests of this folder, from the networks in `runtime_networks`."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fdikp_edge.runtime.artifact import Artifact, ArtifactWriter

sys.path.insert(0, str(Path(__file__).parent / "helpers"))

from runtime_networks import network, passport, save_network

Maker = Callable[..., Artifact]


@pytest.fixture
def make_artifact(tmp_path: Path) -> Maker:
    """Builds an artifact: make_artifact("blur", target="openvino", size=(64, 64), kind="uint8")."""
    pytest.importorskip("onnx", reason="building a test network needs onnx")
    numbers = itertools.count()

    def make(
        name: str = "identity",
        *,
        target: str = "onnx",
        size: tuple[int, int] = (32, 32),
        kind: str = "float",
        **fields: object,
    ) -> Artifact:
        with ArtifactWriter(tmp_path / "artifacts" / f"{name}{next(numbers)}") as writer:
            save_network(network(name, size, kind), target, writer.folder)
            return writer.commit(passport(size, kind, target, **fields))

    return make
