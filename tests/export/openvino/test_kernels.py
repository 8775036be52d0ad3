"""Grouped convolutions that read one computed kernel, in OpenVINO against PyTorch."""

from __future__ import annotations

import numpy as np
import openvino
import pytest
import torch
from fdikp_edge.export.onnx import build as onnx_target
from fdikp_edge.export.openvino.build import convert
from fdikp_edge.export.openvino.kernels import separate_kernels
from fdikp_edge.export.spectral import lower
from fdikp_edge.runtime.errors import LoweringError
from openvino import opset13 as opset
from torch import Tensor, nn


class Differences(nn.Module):
    """One kernel read by several grouped convolutions, each with another factor behind it."""

    def __init__(self, groups: int, readers: int) -> None:
        super().__init__()
        self.groups, self.readers = groups, readers

    def forward(self, x: Tensor, kernel: Tensor) -> tuple[Tensor, ...]:
        results = []
        for index in range(self.readers):
            y = torch.nn.functional.conv2d(x.roll(index, -1), 2 * kernel, groups=self.groups)
            results.append(
                (y, -y, x[..., 1:-1, 1:-1].repeat(1, y.shape[1] // x.shape[1], 1, 1) - y)[index % 3]
            )
        return tuple(results)


class ComplexDepthwise(nn.Module):
    """A depthwise convolution of a spectrum whose complex kernel is computed."""

    def forward(self, x: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
        weights = torch.fft.fft2(kernel)
        y = torch.nn.functional.conv2d(torch.fft.fft2(x), weights, stride=(3, 2), groups=x.shape[1])
        return y.real, y.imag


@pytest.mark.parametrize(
    ("network", "kernel"),
    [
        (Differences(4, 3), (4, 1, 3, 3)),
        (Differences(2, 5), (8, 2, 3, 3)),
        (ComplexDepthwise(), (4, 1, 3, 3)),
    ],
    ids=str,
)
def test_each_reader_sees_the_kernel_as_it_is(network: nn.Module, kernel: tuple[int, ...]) -> None:
    rng = torch.Generator().manual_seed(0)
    inputs = (torch.randn(1, 4, 9, 10, generator=rng), torch.randn(kernel, generator=rng))
    wanted = network.double()(*(value.double() for value in inputs))
    graph, _ = onnx_target.convert_to(lower(network.float().eval(), inputs), "fp32", None)
    model = convert(onnx_target.serialise(graph, "model.onnx"))
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = compiled([value.numpy() for value in inputs])
    for index, want in enumerate(wanted):
        scale = float(want.abs().max())
        np.testing.assert_allclose(results[index] / scale, want.numpy() / scale, atol=1e-5)


def test_stored_kernels_stay_as_they_are() -> None:
    x = opset.parameter([1, 4, 9, 9], np.float32)
    stored = opset.constant(np.ones((4, 1, 3, 3), np.float32))
    kernel = opset.reshape(stored, opset.constant(np.array([4, 1, 1, 3, 3])), False)
    y = opset.group_convolution(x, kernel, [1, 1], [0, 0], [0, 0], [1, 1])
    assert separate_kernels(openvino.Model([y], [x])) == 0


def test_more_readers_than_spellings() -> None:
    network, inputs = Differences(4, 13), (torch.ones(1, 4, 5, 20), torch.ones(4, 1, 3, 3))
    graph, _ = onnx_target.convert_to(lower(network, inputs), "fp32", None)
    with pytest.raises(LoweringError, match="13 grouped convolutions read one computed kernel"):
        convert(onnx_target.serialise(graph, "model.onnx"))
