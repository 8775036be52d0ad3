"""bfloat16 files: valid to the standard, rounded as torch rounds, and refused where no runtime has them."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from fdikp_edge.calibration.runner import Runner
from fdikp_edge.export.build import build_artifact
from fdikp_edge.export.lowered import LoweredModel
from fdikp_edge.export.onnx import build as target
from fdikp_edge.export.onnx.half import narrow_to_bfloat16
from fdikp_edge.export.targets import TARGETS
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.errors import LoweringError, TargetUnavailableError
from fdikp_edge.runtime.pixels import psnr_db
from fdikp_edge.runtime.sessions import onnx_rounding, open_session, openvino_session
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, fx

X = np.random.default_rng(1).standard_normal((1, 8, 6, 6)).astype(np.float32)


def arithmetic() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Mul", ["x", "a"], ["m"], name="mul"),
        helper.make_node("Add", ["m", "b"], ["n"], name="add"),
        helper.make_node("Mul", ["n", "n"], ["y"], name="square"),
    ]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, X.shape) for name in "xy"]
    numbers = {"a": np.float32(1 / 3), "b": np.float32(1e30)}
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in numbers.items()]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def test_rewritten_files_round_every_value_as_bfloat16_does() -> None:
    model = arithmetic()
    assert narrow_to_bfloat16(model) == {"bfloat16": 3, "float32": 0, "casts": 2}
    onnx.checker.check_model(model, full_check=True)
    rewritten = onnx_rounding.rounded_file(model.SerializeToString())
    x = X.astype(ml_dtypes.bfloat16)
    n = x * ml_dtypes.bfloat16(1 / 3) + ml_dtypes.bfloat16(1e30)  # float16 ends at 65504
    session = onnxruntime.InferenceSession(rewritten, providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {"x": X})
    np.testing.assert_array_equal(result, (n * n).astype(np.float32))


def test_a_transform_of_the_runtimes_own_is_refused() -> None:
    model = arithmetic()
    model.graph.node[0].op_type = "DFT"
    with pytest.raises(LoweringError, match="opset 18; use products"):
        narrow_to_bfloat16(model)


class Rounded(Runner):
    """The program with every value rounded to bfloat16 by torch."""

    def run_node(self, n: fx.Node) -> object:
        value = super().run_node(n)
        floats = isinstance(value, Tensor) and value.is_floating_point()
        return value.to(torch.bfloat16).float() if floats else value


@pytest.fixture(scope="module")
def openvino_artifact(lowered: LoweredModel, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    pytest.importorskip("openvino")
    return build_artifact(lowered, "openvino", "bf16", tmp_path_factory.mktemp("b") / "a")


def test_openvino_without_bfloat16_rounds_every_value(
    openvino_artifact: Artifact, lowered: LoweredModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino_session, "has_bfloat16", lambda core: False)
    x = np.random.default_rng(0).random(openvino_artifact.passport.input.shape, dtype=np.float32)
    with open_session(openvino_artifact, threads=1) as session:
        result = session.run(x)
        assert session.is_stand_in and "bfloat16" in session.caveat
        assert session.describe()["arithmetic"] == "bfloat16, emulated"
    program = lowered.for_profile("openvino").lowered.program
    exact, rounded = Runner(program)(x), Rounded(program)(x)
    own, torchs = psnr_db(result, exact), psnr_db(rounded, exact)
    assert 40 < own < 70 and abs(own - torchs) < 6, "as far off as torch's rounding"
    assert not (result.view(np.uint32) & 0xFFFF).any(), "the results themselves are bfloat16"


def test_openvino_with_bfloat16_is_asked_for_it(
    openvino_artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    plain = openvino_session.compile_config

    def config(threads: int, floats: str = "f32") -> dict[str, str | int | bool]:
        asked.append(floats)
        return plain(threads, floats)

    monkeypatch.setattr(openvino_session, "has_bfloat16", lambda core: True)
    monkeypatch.setattr(openvino_session, "compile_config", config)
    with open_session(openvino_artifact, threads=1) as session:
        assert asked == ["bf16"] and not session.is_stand_in and not session.caveat
        assert session.describe()["arithmetic"] in ("bfloat16", "float32"), "what OpenVINO says it compiled"


@pytest.mark.parametrize(
    "name", [row.name for row in TARGETS.values() if "bf16" not in row.precisions and row.not_offered]
)
def test_targets_without_it_say_why(name: str) -> None:
    with pytest.raises(TargetUnavailableError, match=r"does not support bf16, only .* \(.*bfloat16"):
        TARGETS[name].check("bf16")


def test_the_file_for_tensorrt_needs_no_table(lowered: LoweredModel, tmp_path: Path) -> None:
    model, notes = target.convert_to(lowered.lowered, "bf16", None)
    assert any(note.startswith("bf16: ") for note in notes)
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    assert TensorProto.BFLOAT16 in kinds and TensorProto.FLOAT not in kinds
    assert [entry.version for entry in model.opset_import] == [22]
