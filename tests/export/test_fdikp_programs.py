"""FDIKP itself on both runtimes: what is in the files, and how far from eager they are on photographs."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from fdikp_edge.benchmarks.accuracy.parity import Parity, verify
from fdikp_edge.export.build import build_artifact, reference_for
from fdikp_edge.export.lowered import LoweredModel, lower_model
from fdikp_edge.export.reference import Reference
from fdikp_edge.models import zoo
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.sessions import open_session

# Tiny comes from the README's main job. Of the others the least that they take, in pixels: what is in a
# program, and how exact it is, do not depend on it.
SIZES = {"small": (256, 256), "base": (64, 96)}
TARGETS = ("onnx", "openvino")
FORBIDDEN = {
    "DFT", "STFT", "IDFT", "RDFT", "IRDFT", "Loop", "If", "Scan", "SequenceMap", "TensorIterator",
}  # fmt: skip


@cache
def lowered(variant: str) -> LoweredModel:
    return lower_model(zoo.load(variant, seed=0), SIZES[variant])


@pytest.fixture(
    scope="module", params=[f"{variant}-{target}" for variant in ("tiny", *SIZES) for target in TARGETS]
)
def artifact(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Each variant on each target, built once; programs are lowered once for both."""
    variant, target = request.param.split("-")
    pytest.importorskip({"onnx": "onnxruntime", "openvino": "openvino"}[target])
    if variant == "tiny":
        deployed: Path = request.getfixturevalue("deployed")
        return Artifact.open(deployed / f"tiny-{target}-fp32-256x256")
    return build_artifact(lowered(variant), target, "fp32", tmp_path_factory.mktemp("fdikp") / request.param)


def reference(variant: str, artifact: Artifact) -> Reference:
    return lowered(variant).reference if variant in SIZES else reference_for(artifact, zoo.load(variant))


def operators(artifact: Artifact) -> tuple[set[str], set[str]]:
    """Types of the operators and of the values in a file, as that runtime reads it."""
    path = artifact.path / artifact.passport.model_file
    return {"onnx": _onnx, "openvino": _openvino}[artifact.passport.target](path)


def _onnx(path: Path) -> tuple[set[str], set[str]]:
    import onnx

    model = onnx.shape_inference.infer_shapes(onnx.load(path), strict_mode=True)
    assert not model.functions
    kinds = {info.type.tensor_type.elem_type for info in (*model.graph.value_info, *model.graph.output)}
    kinds |= {tensor.data_type for tensor in model.graph.initializer}
    names = {onnx.TensorProto.DataType.Name(kind) for kind in kinds}
    return {node.op_type for node in model.graph.node}, names


def _openvino(path: Path) -> tuple[set[str], set[str]]:
    import openvino

    ops = openvino.Core().read_model(path).get_ops()
    kinds = {port.get_element_type().get_type_name() for op in ops for port in op.outputs()}
    return {op.get_type_name() for op in ops}, kinds


def test_no_transform_no_complex_number_no_control_flow(artifact: Artifact) -> None:
    types, kinds = operators(artifact)
    assert not types & FORBIDDEN
    assert {"MatMul"} <= types and len(types) > 10, "the reader has seen the network"
    assert not {kind for kind in kinds if "complex" in kind.lower()}
    assert kinds & {"FLOAT", "f32"}
    assert artifact.passport.plan, "a plan for each transform is in the passport"


def test_parity_on_photographs(artifact: Artifact) -> None:
    with open_session(artifact, threads=1) as session:
        parity: Parity = verify(session, reference(artifact.passport.model, artifact))
    assert len(parity.photos) == 2
    assert 0 < parity.max_abs <= 2e-5
    assert parity.psnr_db >= 100
    assert parity.ssim > 0.999999
    assert parity.within_budget
