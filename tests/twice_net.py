"""A network that calls its layers twice, for tests of training through rounding; calibrated once."""

from __future__ import annotations

from functools import cache

import torch
from fdikp_edge.calibration.table import CalibrationTable
from fdikp_edge.export.calibrate import calibrate
from fdikp_edge.export.lowered import LoweredModel, lower_model
from torch import Tensor, nn

SIZE = (64, 64)


class Twice(nn.Module):
    """Two calls of the same convolutions, depthwise and dense, around a transform; one in four parts."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.enter = nn.Conv2d(3, 16, 3, padding=1)
            self.wide = nn.Conv2d(16, 16, 3, padding=1, groups=16)
            self.mix = nn.Conv2d(16, 16, 1)
            self.gates = nn.Conv2d(16, 32, 1)
            self.last = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.enter(x))
        for _ in range(2):
            y = y + self.mix(torch.relu(self.wide(y)))
        a, b, c, d = self.gates(y).chunk(4, 1)
        y = torch.sigmoid(a) * torch.tanh(b) + torch.sigmoid(c) * torch.tanh(d)
        y = torch.fft.irfft2(torch.fft.rfft2(y, norm="ortho"), s=y.shape[-2:], norm="ortho")
        return x + 0.1 * self.last(y)


@cache
def lowered() -> LoweredModel:
    return lower_model(Twice().eval(), SIZE, name="twice", contract="float_nchw", profile="onnx")


@cache
def table() -> CalibrationTable:
    return calibrate(lowered(), count=4, least_work=0)
