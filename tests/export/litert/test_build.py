"""The `litert` target: a built file computes what PyTorch does, in every precision."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import phone_net
import pytest
from fdikp_edge.export.build import build_artifact
from fdikp_edge.export.calibrate import calibrate
from fdikp_edge.export.litert.environment import LITERT, problem
from fdikp_edge.export.lowered import LoweredModel
from fdikp_edge.export.targets import get_target
from fdikp_edge.runtime.errors import TargetUnavailableError
from fdikp_edge.runtime.outside.tflite import read_tflite
from fdikp_edge.runtime.sessions import open_session

needs_converter = pytest.mark.skipif(problem() is not None, reason=str(problem()))
needs_runtime = pytest.mark.skipif(
    find_spec("ai_edge_litert") is None, reason="ai-edge-litert is not installed (extra litert)"
)


def test_without_the_environment_the_error_says_what_to_run(
    lowered: LoweredModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("FDIKP_EDGE_LITERT_PYTHON", raising=False)
    with pytest.raises(TargetUnavailableError, match="fdikp-edge setup litert"):
        build_artifact(lowered, "litert", "fp32", tmp_path / "a")
    monkeypatch.setenv("FDIKP_EDGE_LITERT_PYTHON", str(tmp_path / "nothing"))
    assert "which is not a file" in str(LITERT.problem())
    assert not list(tmp_path.glob("a*"))


@needs_converter
@needs_runtime
@pytest.mark.parametrize("precision", get_target("litert").precisions)
def test_a_built_file_computes_what_pytorch_does(
    lowered: LoweredModel, tmp_path: Path, precision: str
) -> None:
    table = calibrate(lowered.for_profile("litert"), count=2, least_work=0) if precision == "int8" else None
    target = get_target("litert:delegate=gpu" if precision == "fp16" else "litert")
    artifact = build_artifact(lowered, target, precision, tmp_path / "a", table=table)
    model = read_tflite(artifact.model_path.read_bytes())
    x = np.random.default_rng(0).random(lowered.inputs[0].shape, dtype=np.float32)
    (reference,) = lowered.reference({"image": x}).values()
    with open_session(artifact, threads=1) as session:
        error = np.abs(session.run(x) - reference).max()
        assert session.is_stand_in == (precision == "fp16")
    assert error < {"fp32": 1e-5, "fp16": 5e-3, "int8": 5e-2}[precision]
    kinds = {tensor.dtype for tensor in model.tensors if tensor.constant}
    assert ("float16" in kinds, "int8" in kinds) == (precision == "fp16", precision == "int8")
    if precision == "int8":
        layers = [one for one in model.operators if one.name in ("CONV_2D", "FULLY_CONNECTED")]
        weights = [model.tensors[one.inputs[1]].dtype for one in layers]
        assert weights.count("int8") == artifact.passport.precision_census["int8 layers"] > 0


@needs_converter
@needs_runtime
def test_int8_is_the_emulations_but_for_layers_that_the_converter_merged(tmp_path: Path) -> None:
    model, table = phone_net.lowered_net()
    artifact = build_artifact(model, "litert", "int8", tmp_path / "a", table=table)
    x = phone_net.photo()
    chosen = [one for one in table.section(model.lowered.key).quantised() if one.module != "model.tail"]
    emulated = phone_net.emulated(model, table, chosen, x)
    (plain,) = model.reference({"image": x}).values()
    with open_session(artifact, threads=1) as session:
        error = session.run(x) - emulated
    assert np.square(error).mean() < 0.36 * np.square(emulated - plain).mean()
    assert artifact.passport.precision_census["int8 layers"] == len(chosen)
    (note,) = [note for note in artifact.passport.notes if "stay in floats" in note]
    assert note.startswith("int8: 1 layers of the table") and "model.tail" in note
