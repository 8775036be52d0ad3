"""Sizes that networks take, against the rule that each network was written with."""

from __future__ import annotations

import logging
import time

import pytest
import torch
from fdikp_edge.export import lower
from fdikp_edge.export.lowered import lower_model
from fdikp_edge.export.trial_sizes import nearest_sizes, problem_with
from fdikp_edge.runtime.errors import LoweringError, SizeError
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F


class Halves(nn.Module):
    """Joins what it computed at several scales: takes multiples of 2 to the power of ``depth``."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.depth = depth
        self.mix = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        scales = [x]
        for _ in range(self.depth):
            scales.append(F.max_pool2d(scales[-1], 2))
        y = scales.pop()
        for scale in reversed(scales):
            y = F.interpolate(y, scale_factor=2) + self.mix(scale)
        return y


class Windows(nn.Module):
    """Cuts a picture into windows of 7 pixels."""

    def forward(self, x: Tensor) -> Tensor:
        _, _, height, width = x.shape
        cut = x.reshape(1, 3, height // 7, 7, width // 7, 7)
        return (cut - cut.mean((3, 5), keepdim=True)).reshape(x.shape)


class Square(nn.Module):
    """Multiplies a picture by its transpose; reads a constant in Python."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("share", torch.tensor(0.5))

    def forward(self, x: Tensor) -> Tensor:
        return x + x.mT * float(self.share)


class OneSize(nn.Module):
    """Has weights for pictures of one size."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.filter = nn.Parameter(torch.rand(height, width // 2 + 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.irfft2(torch.fft.rfft2(x) * self.filter, s=x.shape[-2:])


def image(height: int, width: int) -> tuple[Tensor, ...]:
    return (torch.zeros(1, 3, height, width),)


@settings(max_examples=8, deadline=None)
@given(st.integers(1, 5), st.integers(33, 300), st.integers(33, 300))
def test_the_nearest_multiples_are_found(depth: int, height: int, width: int) -> None:
    step, net = 2**depth, Halves(depth)
    valid = height % step == 0 and width % step == 0
    assert (problem_with(net, image(height, width)) == "") == valid
    if valid:
        return
    down = (height // step * step, width // step * step)
    up = (-(-height // step) * step, -(-width // step) * step)
    assert set(nearest_sizes(net, image, (height, width), seconds=60)) == {down, up}


def test_other_rules() -> None:
    assert nearest_sizes(Windows(), image, (72, 72)) == [(70, 70), (77, 77)]
    assert nearest_sizes(Windows(), image, (70, 72)) == [(70, 70), (70, 77)]
    (nearest, *_) = nearest_sizes(Square(), image, (40, 48))
    assert nearest[0] == nearest[1]
    assert nearest_sizes(OneSize(64, 64), image, (72, 72)) == [(64, 65), (64, 64)]  # 33 columns either way
    assert nearest_sizes(nn.Conv2d(4, 3, 1), image, (72, 72)) == []  # no size helps


def test_trials_and_time_are_bounded() -> None:
    class Slow(nn.Module):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            Slow.calls += 1
            time.sleep(0.02)
            raise ValueError("never")

    assert nearest_sizes(Slow(), image, (72, 72), trials=5) == []
    assert Slow.calls == 5
    began = time.monotonic()
    assert nearest_sizes(Slow(), image, (72, 72), seconds=0.1) == []
    assert time.monotonic() - began < 5
    assert Slow.calls < 20


def test_an_error_of_the_size_names_sizes_and_another_stays(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SizeError, match=r"does not take 72x72.*64x64 and 80x80.*In PyTorch it fails"):
        lower_model(Halves(4).eval(), (72, 72))
    with pytest.raises(LoweringError, match="channels"):
        lower(nn.Conv2d(4, 3, 1).eval(), (torch.rand(1, 3, 72, 72),))
    # torch logs the traceback of each operator that does not take a shape.
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
