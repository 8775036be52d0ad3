"""What TensorRT has no operator for is refused before a builder is started, with its module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from fdikp_edge.export.onnx import build as onnx_target
from fdikp_edge.export.spectral import lower
from fdikp_edge.export.tensorrt import build as tensorrt
from fdikp_edge.export.tensorrt.unsupported import refuse_unsupported
from fdikp_edge.runtime.errors import LoweringError
from onnx import TensorProto, helper
from torch import Tensor, nn

X = torch.randn(1, 8, 6, generator=torch.Generator().manual_seed(0))


class Adds(nn.Module):
    """Adds rows at indices that it is given, inside a named module."""

    def forward(self, x: Tensor) -> Tensor:
        return x.index_add(1, torch.tensor([0, 0]), x[:, :2])


def test_adding_at_indices_is_refused_by_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("polygraphy", reason="building engines needs polygraphy")
    lowered = lower(nn.Sequential(nn.Identity(), Adds()).eval(), (X,))

    def started(*args: Any) -> Any:
        raise AssertionError("the builder was started")

    monkeypatch.setattr(tensorrt, "_run", started)
    with pytest.raises(
        LoweringError, match=r"TensorRT-RTX has no operator for adding at indices.*module '1'"
    ):
        tensorrt.build_rtx(lowered, "fp32", tmp_path, options={"capabilities": "8.9"})
    assert not list(tmp_path.iterdir())


def model_of(operator: str, outputs: int = 1, **attributes: Any) -> Any:
    inputs = ["x"] if operator in ("MaxPool", "Col2Im") else ["x", "i", "u"]
    node = helper.make_node(operator, inputs, [f"y{i}" for i in range(outputs)], **attributes)
    entry = helper.make_node("Relu", ["in"], ["x"])
    value = helper.make_tensor_value_info("in", TensorProto.FLOAT, [1])
    return helper.make_model(helper.make_graph([entry, node], "g", [value], []))


REFUSED = [
    ("MaxPool", {"outputs": 2, "kernel_shape": [2, 2]}),
    ("Col2Im", {}),
    ("ScatterND", {"reduction": "add"}),
    ("ScatterElements", {"reduction": "max"}),
]


@pytest.mark.parametrize(("operator", "given"), REFUSED)
def test_each_form(operator: str, given: dict[str, Any]) -> None:
    with pytest.raises(LoweringError, match="in the root module"):
        refuse_unsupported(model_of(operator, **given), "tensorrt-rtx", "TensorRT-RTX")


@pytest.mark.parametrize("operator", ["MaxPool", "ScatterND", "ScatterElements"])
def test_other_forms_pass(operator: str) -> None:
    refuse_unsupported(model_of(operator), "tensorrt-rtx", "TensorRT-RTX")
    refuse_unsupported(model_of("ScatterElements", reduction="add"), "tensorrt", "TensorRT")


def parse(model: Any) -> list[str]:
    trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    parser.parse(model.SerializeToString())
    return [str(parser.get_error(i).desc()) for i in range(parser.num_errors)]


@pytest.mark.parametrize("form", ["index_add", "scatter_add"])
def test_the_parser_itself_refuses_them(form: str) -> None:
    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if form == "index_add":
                return x.index_add(1, torch.tensor([0, 0]), x[:, :2])
            return x.scatter_add(1, torch.zeros(1, 2, 6, dtype=torch.int64), x[:, :2])

    model, _ = onnx_target.convert(lower(Net().eval(), (X,)).program)
    assert parse(model)
    with pytest.raises(LoweringError):
        refuse_unsupported(model, "tensorrt-rtx", "TensorRT-RTX")
