"""Slow activations are rewritten where that is exact enough, and nowhere else."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from fdikp_edge.export.onnx import build as onnx_target
from fdikp_edge.export.openvino.build import convert
from fdikp_edge.export.spectral import lower
from torch import Tensor, nn

openvino = pytest.importorskip("openvino")


class Gate(nn.Module):
    """A tangent behind a convolution, one behind a sum that is read twice, and one of a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.head = nn.Conv2d(3, 3, 1), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.tanh(self.mix(x))
        total = gate + x
        return torch.tanh(total) * total + torch.tanh(self.head(x.mean((2, 3))))[:, :, None, None]


def converted(precision: str) -> tuple[openvino.Model, nn.Module, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network, x = Gate().eval(), torch.randn(1, 3, 5, 7) * 4
    model, _ = onnx_target.convert_to(lower(network, (x,), target="openvino"), precision, None)
    return convert(onnx_target.serialise(model, "model.onnx")), network, x


def test_maps_in_float32_are_rewritten_and_equal() -> None:
    model, network, x = converted("fp32")
    census = Counter(node.get_type_name() for node in model.get_ops())
    assert (census["Tanh"], census["Sigmoid"]) == (1, 2)  # the vector stays
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    got = openvino.Core().compile_model(model, "CPU", options)([x.numpy()])[0]
    want = network.double()(x.double()).detach().numpy()
    np.testing.assert_allclose(got, want, atol=2e-6)


def test_the_factor_is_in_the_weights_of_the_layer_before() -> None:
    model, network, _ = converted("fp32")
    (convolution,) = [node for node in model.get_ops() if node.get_type_name() == "Convolution"]
    weights = convolution.input_value(1).get_node()
    doubled = network.mix.weight.detach().numpy() * 2
    np.testing.assert_array_equal(np.sort(weights.data.ravel()), np.sort(doubled.ravel()))


def test_float16_stays_as_it_is() -> None:
    model, _, _ = converted("fp16")
    census = Counter(node.get_type_name() for node in model.get_ops())
    assert (census["Tanh"], census["Sigmoid"]) == (3, 0)
