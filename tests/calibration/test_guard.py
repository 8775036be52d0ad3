"""Is leaving spectra in floats needed? On photographs as they are, with a filter over the whole plane."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from fdikp_edge.calibration.emulate import HalfRunner, Int8Runner
from fdikp_edge.calibration.fp16_islands import decide
from fdikp_edge.calibration.runner import Runner
from fdikp_edge.calibration.samples import choose, shipped_photos
from fdikp_edge.export.calibrate import calibrate, transforms_of
from fdikp_edge.export.lowered import LoweredModel, lower_model
from fdikp_edge.runtime.pixels import psnr_db
from torch import Tensor, nn

SIZE = (256, 256)


class Plane(nn.Module):
    """Filters a photograph in the frequency domain, channel by channel, then in space; both do nothing."""

    def __init__(self, norm: str) -> None:
        super().__init__()
        self.norm = norm
        self.mix = nn.Conv2d(6, 6, 1, bias=False)
        self.tail = nn.Conv2d(3, 3, 3, padding=1, bias=False)
        with torch.no_grad():
            self.mix.weight.copy_(torch.eye(6)[:, :, None, None])
            self.tail.weight.zero_()
            self.tail.weight[:, :, 1, 1] = torch.eye(3)

    def forward(self, x: Tensor) -> Tensor:
        z = torch.fft.rfft2(x, norm=self.norm)
        re, im = self.mix(torch.cat([z.real, z.imag], 1)).chunk(2, 1)
        return self.tail(torch.fft.irfft2(torch.complex(re, im), s=x.shape[-2:], norm=self.norm))


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray[Any, Any]]:
    return choose(shipped_photos(), SIZE, count=3, seed=3).arrays()


def of(model: LoweredModel, photos: list[np.ndarray[Any, Any]], *, guarded: bool) -> float:
    """Worst PSNR of int8 against floats."""
    table = calibrate(model, count=8, least_work=0, guarded=guarded)
    table = dataclasses.replace(table, scheme="minmax")  # what is clipped is no matter of the guard
    key = model.lowered.key
    section = table.section(key)
    scales = {name: table.scale(key, name) for name in section.tensors}
    runner = Int8Runner(model.lowered.program, section.quantised(), scales)
    plain = Runner(model.lowered.program)
    return min(psnr_db(runner(photo), plain(photo)) for photo in photos)


def test_int8_on_a_spectrum_breaks_the_picture_and_beside_it_does_not(
    photos: list[np.ndarray[Any, Any]],
) -> None:
    model = lower_model(Plane("ortho").eval(), SIZE, name="plane")
    assert of(model, photos, guarded=True) > 45
    assert of(model, photos, guarded=False) < 25


def test_float16_overflows_on_a_white_wall_without_its_island(photos: list[np.ndarray[Any, Any]]) -> None:
    model = lower_model(Plane("backward").eval(), SIZE, name="plane")
    program = model.lowered.program
    wall = np.ones((1, 3, *SIZE), np.float32)
    assert not np.isfinite(HalfRunner(program)(wall)).all(), "256 x 256 x 1 is more than 65504"
    plan = decide(program, photos[:1], transforms_of(model.lowered))  # which are half as bright
    assert plan.float32_layers
    assert psnr_db(HalfRunner(program, plan.float32_layers)(wall), Runner(program)(wall)) > 60
