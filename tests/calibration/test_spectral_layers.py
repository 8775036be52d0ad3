"""Layers on spectra are quantised where the picture allows it, module by module, and only there."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from fdikp_edge.calibration.emulate import Int8Runner
from fdikp_edge.calibration.runner import Runner
from fdikp_edge.calibration.samples import choose, shipped_photos
from fdikp_edge.calibration.spectral_layers import WANTED_DB
from fdikp_edge.calibration.table import CalibrationTable
from fdikp_edge.export.calibrate import calibrate
from fdikp_edge.export.lowered import LoweredModel, lower_model
from fdikp_edge.runtime.pixels import psnr_db
from torch import Tensor, nn

SIZE = (64, 64)


class Filter(nn.Module):
    """A 1x1 convolution on the spectrum of maps that were raised by ``mean``."""

    def __init__(self, mean: float) -> None:
        super().__init__()
        self.mean, self.mix = mean, nn.Conv2d(16, 16, 1)
        with torch.no_grad():
            self.mix.weight.copy_(torch.eye(16)[:, :, None, None])

    def forward(self, x: Tensor) -> Tensor:
        z = torch.fft.rfft2(x + self.mean, norm="ortho")
        re, im = self.mix(torch.cat([z.real, z.imag], 1)).chunk(2, 1)
        return torch.fft.irfft2(torch.complex(re, im), s=x.shape[-2:], norm="ortho") - self.mean


class TwoFilters(nn.Module):
    """Two filters side by side, whose maps may have very different means."""

    def __init__(self, first: float, second: float) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.head, self.tail = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 3, 3, padding=1)
            self.first, self.second = Filter(first), Filter(second)

    def forward(self, x: Tensor) -> Tensor:
        f = self.head(x)
        f = f - f.mean(dim=(2, 3), keepdim=True)
        return x + 0.2 * self.tail(self.first(f) + self.second(f))


@pytest.fixture(autouse=True)
def _photos_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What photos allow: patterns allow less of a spectrum of the whole plane."""
    module = import_module("fdikp_edge.export.calibrate")
    monkeypatch.setattr(module, "judged_on_pictures", lambda model: False)


@cache
def calibrated(first: float, second: float) -> tuple[LoweredModel, CalibrationTable]:
    model = lower_model(TwoFilters(first, second).eval(), SIZE, name="two-filters")
    return model, calibrate(model, count=4, least_work=0)


def reasons(first: float, second: float) -> dict[str, str]:
    model, table = calibrated(first, second)
    layers = table.section(model.lowered.key).layers
    return {layer.module.removeprefix("model."): layer.reason for layer in layers if "mix" in layer.module}


def in_8_bits(model: LoweredModel, table: CalibrationTable, photo: np.ndarray[Any, Any]) -> float:
    key = model.lowered.key
    section = table.section(key)
    runner = Int8Runner(
        model.lowered.program, section.quantised(), {name: table.scale(key, name) for name in section.tensors}
    )
    return psnr_db(runner(photo), Runner(model.lowered.program)(photo))


def test_a_spectrum_without_a_large_mean_is_quantised():
    assert reasons(0.0, 0.0) == {"first.mix": "", "second.mix": ""}


@pytest.mark.parametrize(("first", "second", "bad"), [(0.0, 400.0, "second"), (400.0, 0.0, "first")])
def test_only_the_module_that_loses_the_picture_stays_in_floats(first: float, second: float, bad: str):
    given = reasons(first, second)
    (refused,) = (module for module, reason in given.items() if reason)
    assert refused == f"{bad}.mix"
    assert "spectrum" in given[refused] and "dB with this module alone in 8 bits" in given[refused]


def test_what_was_admitted_keeps_a_photo_that_was_not_looked_at():
    photo = choose(shipped_photos(), SIZE, count=3, seed=9).arrays()[2]
    kept = {means: in_8_bits(*calibrated(*means), photo) for means in ((0.0, 0.0), (400.0, 0.0))}
    model, _ = calibrated(400.0, 0.0)
    unguarded = in_8_bits(model, calibrate(model, count=4, least_work=0, guarded=False), photo)
    assert min(kept.values()) > 42
    assert unguarded < min(kept.values()) - 2


def test_a_program_that_is_poor_anyway_may_not_become_much_poorer():
    model, table = calibrated(0.0, 0.0)
    psnr = in_8_bits(model, table, choose(shipped_photos(), SIZE, count=4).arrays()[0])
    assert not any(reasons(0.0, 0.0).values())
    assert psnr < WANTED_DB  # although less than wanted remains, the head and the tail cost nearly all of it
