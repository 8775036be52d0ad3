"""The `litert` target: what is quantised is what the emulation rounds; a file computes what PyTorch does."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from fdikp_edge.calibration.emulate import Int8Runner
from fdikp_edge.export.build import build_artifact
from fdikp_edge.export.calibrate import calibrate
from fdikp_edge.export.litert.environment import LITERT, problem
from fdikp_edge.export.lowered import LoweredModel
from fdikp_edge.export.quantised_program import quantised_program
from fdikp_edge.export.targets import get_target
from fdikp_edge.runtime.errors import TargetUnavailableError
from fdikp_edge.runtime.outside.tflite import read_tflite
from fdikp_edge.runtime.sessions import open_session

needs_converter = pytest.mark.skipif(problem() is not None, reason=str(problem()))
needs_runtime = pytest.mark.skipif(
    find_spec("ai_edge_litert") is None, reason="ai-edge-litert is not installed (extra litert)"
)


def test_the_quantised_program_computes_what_the_emulation_does(lowered: LoweredModel) -> None:
    own = lowered.for_profile("litert")
    table = calibrate(own, count=2, least_work=0)
    section = table.section(own.lowered.key)
    assert section.quantised()
    scales = {name: table.scale(own.lowered.key, name) for name in section.tensors}
    emulated = Int8Runner(own.lowered.program, section.quantised(), scales, rounded_results=True)
    x = np.random.default_rng(0).random(lowered.inputs[0].shape, dtype=np.float32)
    program = quantised_program(own.lowered, table)
    with torch.no_grad():
        result = torch.utils._pytree.tree_leaves(program.module()(torch.from_numpy(x)))[0].numpy()
        plain = torch.utils._pytree.tree_leaves(own.lowered.program.module()(torch.from_numpy(x)))[0].numpy()
    assert np.abs(result - emulated(x)).max() < 1e-5
    assert np.abs(result - plain).max() > 1e-4, "nothing was rounded"
    kinds = [str(node.target) for node in program.graph.nodes]
    pairs = kinds.count("quantized_decomposed.quantize_per_tensor.default")
    assert len(section.quantised()) <= pairs <= 2 * len(section.quantised()), "a value is rounded twice"


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
        kinds_of = [model.tensors[one.outputs[0]].dtype for one in layers]
        assert kinds_of.count("int8") == artifact.passport.precision_census["int8 layers"] > 0
