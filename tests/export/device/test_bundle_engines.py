"""Every file that goes into a bundle, built by a real TensorRT (RTX, ahead of time, no GPU needed)."""

from __future__ import annotations

import numpy as np
import pytest
from fdikp_edge.export.build import build_artifact
from fdikp_edge.export.device.bundle import make_bundle
from fdikp_edge.export.lowered import LoweredModel
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.device.build import Built, Settings, build
from fdikp_edge.runtime.device.bundle import Bundle
from fdikp_edge.runtime.sessions import open_session
from fdikp_edge.runtime.tensorrt.features import features_of_module

rtx = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")

KINDS = ("fp32", "fp16", "int8", "uint8")
"""The precisions, and float32 behind an image contract of bytes."""


@pytest.fixture(scope="module")
def artifacts(
    lowered: LoweredModel, lowered_bytes: LoweredModel, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Artifact, Artifact]]:
    """Kind -> an artifact for ONNX Runtime, and what a bundle makes of it."""
    folder = tmp_path_factory.mktemp("kinds")
    before = {
        kind: build_artifact(
            lowered_bytes if kind == "uint8" else lowered,
            "onnx",
            "fp32" if kind == "uint8" else kind,
            folder / kind,
        )
        for kind in KINDS
    }
    bundle = make_bundle([artifact.path for artifact in before.values()], folder / "all.bundle")
    after = {artifact.path.name: artifact for artifact in Bundle.open(bundle.path, folder / "c").artifacts()}
    return {kind: (before[kind], after[kind]) for kind in KINDS}


def engine(artifact: Artifact) -> Built:
    onnx = artifact.model_path.read_bytes()
    return build(rtx, features_of_module(rtx), onnx, artifact, Settings(capability=(8, 6)))


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_of_a_bundle_becomes_an_engine(
    kind: str, artifacts: dict[str, tuple[Artifact, Artifact]]
) -> None:
    built = engine(artifacts[kind][1])
    assert built.engine[:4] == b"vtrt"
    assert not [text for severity, text in built.log if severity < 2]


def test_bytes_stay_the_same_pixels(artifacts: dict[str, tuple[Artifact, Artifact]]) -> None:
    before, after = artifacts["uint8"]
    assert any("casts touch bytes" in note for note in after.passport.notes)
    pixels = np.random.default_rng(0).integers(0, 256, before.passport.inputs[0].shape, dtype=np.uint8)
    with open_session(before, threads=1) as old, open_session(after, threads=1) as new:
        assert (old.run(pixels) == new.run(pixels)).all()
