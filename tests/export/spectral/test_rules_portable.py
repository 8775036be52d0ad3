"""Operators that a converter lacks, through ONNX Runtime against PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from fdikp_edge.export.spectral import lower
from spectral_networks.checks import onnx_file, run_onnx, run_openvino
from torch import Tensor, nn


class Put(nn.Module):
    """Values written at flat positions, counted from the end too."""

    def __init__(self, accumulate: bool) -> None:
        super().__init__()
        self.accumulate = accumulate

    def forward(self, x: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
        index = torch.tensor([[6, 4], [-7, 0]])
        spectrum = torch.put(torch.fft.fft(x), index, torch.complex(source, 2 * source), self.accumulate)
        return torch.put(x, index, source, self.accumulate), torch.view_as_real(spectrum)


class ScalarNorm(nn.Module):
    """The norm of one number, real and complex, over the axis that torch gives a scalar."""

    def __init__(self, order: float) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        one = x.sum() - y.sum()
        return (
            torch.linalg.vector_norm(one, self.order, dim=0).reshape(1),
            torch.linalg.vector_norm(torch.complex(one, 3 * one), self.order, dim=0).reshape(1),
        )


class Lines(nn.Module):
    """Rows and columns put together, diagonals written, axes that are not there."""

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        z = torch.complex(x, 2 * x)
        scalar = torch.complex(x.sum(), y.sum())
        return (
            torch.view_as_real(torch.hstack([z[0], z[1]])),
            torch.vstack([x[0], x]),
            torch.hstack([x, y[:1].expand(3, 2)]),
            torch.view_as_real(torch.diagonal_scatter(z, z[0, :2], 1)),
            torch.diagonal_scatter(x[None].expand(2, 3, 3), torch.ones(2, 2), -1, -2, -1),
            torch.view_as_real(torch.tile(scalar, ()).reshape(1)),
            torch.view_as_real(torch.squeeze(z, ())),
            torch.view_as_real(torch.logsumexp(scalar, 0)).reshape(2),
            torch.linalg.vector_norm(x, float("inf"), keepdim=True),
            torch.linalg.vector_norm(z, 3, keepdim=True),
        )


class Borders(nn.Module):
    """Replicated borders where an axis is cut off at one end, or wholly."""

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        pads = ([-3, 4, 0, 0], [1, 2, -1, 1], [2, -4, 3, -1], [-1, -1, 0, 0])
        real = [torch.nn.functional.pad(x[None, None], pad, "replicate") for pad in pads]
        spectrum = torch.complex(x, 3 * x)[None, None]
        padded = torch.nn.functional.pad(spectrum, pads[0], "replicate")
        return (*real, torch.view_as_real(padded))


class DoublePhase(nn.Module):
    """The angle in float64, which ONNX Runtime has no arc tangent for."""

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        wide = x.double() * 10.0 ** torch.arange(-4, 5).reshape(3, 3).double()
        return torch.atan(wide), torch.atan2(wide, wide.roll(1)), torch.atan(wide * 1e300 * 1e300)


@pytest.mark.parametrize(
    "network",
    [
        Lines(),
        Borders(),
        DoublePhase(),
        Put(False),
        Put(True),
        ScalarNorm(2),
        ScalarNorm(0),
        ScalarNorm(float("inf")),
    ],
    ids=str,
)
def test_runtimes_agree_with_pytorch(network: nn.Module, tmp_path: Path) -> None:
    rng = torch.Generator().manual_seed(0)
    inputs = (torch.randn(3, 3, generator=rng), torch.randn(2, 2, generator=rng))
    wanted = network.double()(*(value.double() for value in inputs))
    file = onnx_file(lower(network.float().eval(), inputs).program, tmp_path / "model.onnx")
    for run in (run_onnx, run_openvino):
        for got, want in zip(run(file, inputs), wanted, strict=True):
            np.testing.assert_allclose(np.asarray(got), want.numpy(), rtol=1e-5, atol=1e-5)
