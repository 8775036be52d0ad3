"""Error shares against the emulated error itself, and layers that stay in floats for patterns and photos."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from fdikp_edge.calibration import picture_layers
from fdikp_edge.calibration.attribution import error_shares, memory_for
from fdikp_edge.calibration.emulate import Int8Runner
from fdikp_edge.calibration.layers import Layer
from fdikp_edge.calibration.picture_layers import PATTERNS, PHOTOS, worst_spectral_layers
from fdikp_edge.calibration.runner import Runner
from fdikp_edge.calibration.samples import choose, shipped_photos
from fdikp_edge.calibration.table import CalibrationTable
from fdikp_edge.calibration.worst_layers import Bound, Pictures, worst_layers
from fdikp_edge.export.calibrate import calibrate
from fdikp_edge.export.lowered import LoweredModel, lower_model
from fdikp_edge.export.picture_layers import feeds, with_picture_layers
from fdikp_edge.export.profile import Profile
from fdikp_edge.runtime.inputs import Sample
from fdikp_edge.runtime.pixels import psnr_db
from torch import Tensor, nn

SIZE = (64, 64)


class Sharpened(nn.Module):
    """A picture of half the contrast, and what a wide and ``gain`` times a narrow high-pass layer see."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(3, 32, 1)
        self.wide = nn.Conv2d(32, 32, 3, padding=1)
        self.edges = nn.Conv2d(32, 32, 3, padding=1, groups=32, bias=False)
        self.last = nn.Conv2d(32, 3, 1)
        laplace = torch.tensor([[0.0, -1, 0], [-1, 4, -1], [0, -1, 0]])
        with torch.no_grad():
            self.edges.weight.copy_(gain * laplace.expand(32, 1, 3, 3))
            self.last.weight.mul_(0.2)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.fft.irfft2(torch.fft.rfft2(x, norm="ortho"), s=x.shape[-2:], norm="ortho")
        features = torch.tanh(self.first(x))
        return 0.5 * y + 0.25 + self.last(torch.tanh(self.wide(features)) + self.edges(features))


@cache
def lowered(gain: float, contract: str = "float_nchw") -> LoweredModel:
    return lower_model(Sharpened(gain).eval(), SIZE, name="sharpened", contract=contract, profile="onnx")


@cache
def table(gain: float, contract: str = "float_nchw", guarded: bool = True) -> CalibrationTable:
    return calibrate(lowered(gain, contract), count=4, least_work=0, guarded=guarded)


def emulated(model: LoweredModel, calibrated: CalibrationTable) -> tuple[Any, Any, dict[str, float]]:
    """Return the program, the layers in 8 bits, and the scales."""
    section = calibrated.section(model.lowered.key)
    return (
        model.lowered.program,
        section.quantised(),
        {name: calibrated.scale(model.lowered.key, name) for name in section.tensors},
    )


@pytest.mark.parametrize("rounded", [True, False])
@pytest.mark.parametrize("index", range(3))
def test_shares_add_up_to_the_error_that_emulation_shows(index: int, rounded: bool) -> None:
    model = lowered(0.25)
    program, layers, scales = emulated(model, table(0.25, guarded=False))
    layers = [layer for layer in layers if layer.module.removeprefix("model.") in ("wide", "edges")]
    feed = feeds(model)[index]
    expected = Runner(program)(feed)
    shares = error_shares(program, layers, scales, feed, expected, rounded_results=rounded)
    result = Int8Runner(program, layers, scales, rounded_results=rounded)(feed)
    error = float(((result.clip(0, 1) - expected.clip(0, 1)).astype(np.float64) ** 2).mean())
    assert sum(shares.values()) == pytest.approx(error, rel=0.2)
    worst = max(shares, key=lambda name: shares[name])
    assert "edges" in next(layer.module for layer in layers if layer.node == worst)


def test_a_narrow_layer_that_clips_patterns_stays_in_floats_and_the_wide_one_does_not() -> None:
    model = lowered(0.25)
    held = {
        layer.module.removeprefix("model."): layer.reason
        for layer in table(0.25).section(model.lowered.key).layers
    }
    assert held["edges"] == PATTERNS.reason
    assert held["wide"] == ""
    program, layers, scales = emulated(model, table(0.25))
    runner, floats = Int8Runner(program, layers, scales, rounded_results=True), Runner(program)
    for feed in feeds(model):
        error = ((runner(feed).clip(0, 1) - floats(feed).clip(0, 1)).astype(np.float64) ** 2).mean()
        assert -10 * np.log10(error + 1e-20) >= PATTERNS.wanted_db
    everything = sum(
        layer.macs for layer in table(0.25, guarded=False).section(model.lowered.key).quantised()
    )
    kept = sum(
        layer.macs
        for layer in table(0.25).section(model.lowered.key).layers
        if layer.reason == PATTERNS.reason
    )
    assert 0 < kept <= PATTERNS.most_work * everything


def test_a_network_that_patterns_do_not_hurt_keeps_all_its_int8_layers() -> None:
    model = lowered(0.0)
    held = {layer.reason for layer in table(0.0).section(model.lowered.key).layers}
    assert not held & {PATTERNS.reason, PHOTOS.reason}


def test_a_small_layer_that_costs_photos_most_stays_in_floats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_layers, "PATTERNS", dataclasses.replace(PATTERNS, wanted_db=0.0))
    model = lowered(4.0)
    calibrated = calibrate(model, count=4, least_work=0)
    section = calibrated.section(model.lowered.key)
    held = {layer.module.removeprefix("model."): layer.reason for layer in section.layers}
    assert (held["edges"], held["wide"]) == (PHOTOS.reason, "")
    program, layers, scales = emulated(model, calibrated)
    pictures = Pictures(
        program, scales, choose(shipped_photos(), SIZE, count=4).arrays(), rounded_results=True
    )
    before = [layer for layer in section.layers if layer.reason in ("", PHOTOS.reason)]
    assert min(pictures.levels(before, range(4)).values()) < PHOTOS.wanted_db
    assert min(pictures.levels(layers, range(4)).values()) >= PHOTOS.wanted_db


def test_no_more_work_goes_back_to_floats_than_the_bound_allows() -> None:
    model = lowered(4.0)
    program, layers, scales = emulated(model, table(4.0, guarded=False))
    layers = [layer for layer in layers if layer.module in ("model.wide", "model.edges")]
    pictures = Pictures(program, scales, feeds(model)[:2], rounded_results=True)
    levels = pictures.levels(layers, range(2))
    work = sum(layer.macs for layer in layers)
    edges = next(layer for layer in layers if layer.module == "model.edges")
    for most_work, expected in ((0.9 * edges.macs / work, set()), (1.1 * edges.macs / work, {edges.node})):
        bound = Bound(wanted_db=60.0, most_work=most_work, least_gain_db=0.0, what="pattern", reason="why")
        kept = worst_layers(pictures, layers, levels, bound, lambda message: None)
        assert set(kept) == expected
        assert sum(layer.macs for layer in layers if layer.node in kept) <= most_work * work


@pytest.mark.parametrize(("gain", "expected"), [(0.5, {"a", "b", "c"}), (0.2, set())])
def test_a_round_is_judged_by_the_pictures_that_it_looks_at(gain: float, expected: set[str]) -> None:
    layers = [Layer(name, name, "x", "w", macs=10 if name < "d" else 1000) for name in "abcd"]

    class Tiles:
        """Six tiles below the bound. Each layer in floats lifts two of them by ``gain``."""

        def levels(self, active: list[Layer], which: Any) -> dict[int, float]:
            names = [layer.node for layer in active]
            return {index: 40.0 + gain * ("abc"[index // 2] not in names) for index in which}

        def shares(self, active: list[Layer], which: list[int]) -> dict[str, float]:
            return {layer.node: 0.9 * (layer.node == "abc"[which[0] // 2]) for layer in active}

    bound = Bound(wanted_db=48.0, most_work=1.0, least_gain_db=0.3, what="photo", reason="why")
    tiles: Any = Tiles()
    levels = tiles.levels(layers, range(6))
    assert set(worst_layers(tiles, layers, levels, bound, lambda message: None)) == expected


def test_a_network_of_bytes_keeps_the_same_layers() -> None:
    of_bytes = lowered(0.25, "uint8_nhwc")
    held = {
        layer.module.removeprefix("model."): layer.reason
        for layer in table(0.25, "uint8_nhwc").section(of_bytes.lowered.key).layers
    }
    assert held["edges"] == PATTERNS.reason
    assert held["wide"] == ""


def test_a_program_too_large_to_be_looked_into_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    model = lowered(0.25)
    monkeypatch.setattr(picture_layers, "MOST_BYTES", memory_for(model.lowered.program) - 1)
    held = calibrate(model, count=4, least_work=0).section(model.lowered.key).layers
    assert not [layer for layer in held if layer.reason in (PATTERNS.reason, PHOTOS.reason)]


def test_each_target_keeps_the_same_layers_whichever_others_there_are() -> None:
    model = lowered(0.25)
    both = calibrate([model, model.for_profile("openvino")], count=4, least_work=0)
    assert both.only(model.lowered.key).sha256 == table(0.25).sha256
    other = calibrate(model.for_profile("openvino"), count=4, least_work=0)
    key = model.for_profile("openvino").lowered.key
    assert both.section(key) == other.section(key)
    # OpenVINO rounds what layers read alone, so that no pattern is clipped in the result of the edges.
    assert not [layer for layer in both.section(key).layers if layer.reason == PATTERNS.reason]


class Thresholded(Sharpened):
    """The same in black and white, whose derivative is 0."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 + 0.5 * torch.sign(super().forward(x) - 0.5)


def test_a_network_whose_derivative_is_zero_is_left_as_it_is() -> None:
    model = lower_model(Thresholded(0.25).eval(), SIZE, name="thresholded", profile="onnx")
    held = calibrate(model, count=4, least_work=0).section(model.lowered.key).layers
    assert not [layer for layer in held if layer.reason == PATTERNS.reason]


class Filtered(nn.Module):
    """Half the picture, and what 1x1 convolutions make of the spectra of its windows of 8x8."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.mix = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(32, 32, 1)
        self.last = nn.Conv2d(16, 3, 3, padding=1)
        with torch.no_grad():
            self.mix.weight.copy_(torch.eye(32)[:, :, None, None])

    def forward(self, x: Tensor) -> Tensor:
        features = self.first(x - x.mean((2, 3), keepdim=True))
        windows = features.reshape(1, 16, 8, 8, 8, 8).transpose(3, 4)
        z = torch.fft.rfft2(windows, norm="ortho")
        mixed = self.mix(torch.cat([z.real, z.imag], 1).flatten(4).flatten(2, 3)).reshape(1, 32, 8, 8, 8, 5)
        re, im = mixed.chunk(2, 1)
        y = torch.fft.irfft2(torch.complex(re, im), s=(8, 8), norm="ortho")
        return 0.5 * x + 0.25 + 0.4 * self.last(y.transpose(3, 4).reshape(1, 16, 64, 64))


def filtered(profile: str) -> LoweredModel:
    return lower_model(Filtered().eval(), SIZE, name="filtered", profile=profile)


def test_a_layer_on_a_spectrum_that_clips_gratings_stays_in_floats() -> None:
    """Photos bear it in 8 bits, and a grating, which is one coefficient, does not."""
    model = filtered("default")
    calibrated = calibrate(model, count=4, least_work=0)
    section = calibrated.section(model.lowered.key)
    reasons = {layer.module.removeprefix("model."): layer.reason for layer in section.layers}
    assert reasons["mix"] == PATTERNS.reason
    (mix,) = (layer for layer in section.layers if layer.module == "model.mix")
    program, _, scales = emulated(model, calibrated)
    photo = choose(shipped_photos(), SIZE, count=3, seed=9).arrays()[2]
    gratings, photos = (
        min(psnr_db(Int8Runner(program, [mix], scales)(x), Runner(program)(x)) for x in pictures)
        for pictures in (feeds(model), [photo])
    )
    assert photos > 46 and gratings < PATTERNS.wanted_db - 3


def chosen(losses: dict[str, float]) -> set[str]:
    """Return the modules that stay in floats, of modules whose mean squared errors on one pattern add up."""
    nodes = {name: [f"{name}.node"] for name in losses}

    def tried(kept: Any, which: Any) -> dict[int, float]:
        left = 1e-9 + sum(loss for name, loss in losses.items() if f"{name}.node" not in kept)
        return dict.fromkeys(which, -10 * float(np.log10(left)))

    active = {f"{name}.node" for name in losses}
    levels = tried((), [0])
    return {
        node.partition(".")[0]
        for node in worst_spectral_layers(nodes, levels, tried, active, lambda message: None)
    }


def test_the_worst_modules_on_spectra_stay_in_floats_and_no_more_than_it_takes() -> None:
    harmless = {f"m{index}": 1e-9 for index in range(8)}
    assert chosen({**harmless, "bad": 1e-3, "worse": 2e-3}) == {"bad", "worse"}
    assert chosen({**harmless, "bad": 5e-5, "worse": 1e-3}) == {"worse"}
    assert chosen({**harmless, "bad": 5e-5, "worse": 6e-5}) == {"worse"}, "alone, each is better than wanted"


def test_modules_on_spectra_that_patterns_hardly_notice_stay_in_8_bits() -> None:
    assert chosen({"one": 1e-6, "other": 1e-6}) == set()
    assert chosen({"one": 10**-4.15}) == set(), "less is lost than may be"


def test_each_target_is_judged_with_its_own_layers_and_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, bool]] = []
    real = picture_layers.keep_for_pictures

    def counted(program: Any, layers: Any, *rest: Any, **named: Any) -> dict[str, str]:
        seen.append((sum(not layer.reason for layer in layers), named["rounded_results"]))
        return real(program, layers, *rest, **named)

    monkeypatch.setattr("fdikp_edge.export.picture_layers.keep_for_pictures", counted)
    model = filtered("onnx")
    several = [model, model.for_profile("openvino")]
    table = calibrate(several, count=2, least_work=0)
    numbers = {
        key[1]: sum(layer.reason in ("", PATTERNS.reason, PHOTOS.reason) for layer in section.layers)
        for key, section in table.sections.items()
    }
    assert numbers["onnx"] != numbers["openvino"]
    assert seen == [(numbers["onnx"], True), (numbers["openvino"], False)]


def test_targets_that_round_differently_are_judged_apart_even_with_equal_layers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = lowered(0.25)
    section = table(0.25, guarded=False).section(model.lowered.key)
    seen: list[bool] = []

    def counted(*given: Any, **named: Any) -> dict[str, str]:
        seen.append(named["rounded_results"])
        return {}

    monkeypatch.setattr("fdikp_edge.export.picture_layers.keep_for_pictures", counted)
    monkeypatch.setattr(
        "fdikp_edge.export.picture_layers.profile_of",
        lambda name: Profile(name, 1, 1, 1, rounds_results=name == "coreml"),
    )
    several = [model.for_profile(name) for name in ("default", "tensorrt", "coreml")]
    assert len({each.lowered.key[0] for each in several}) == 1, "one program"
    with_picture_layers(several, {each.lowered.key: section for each in several})
    assert seen == [False, True]


def test_the_first_tiles_are_looked_at_whatever_form_they_have(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def counted(*given: Any, photos: Any, **named: Any) -> dict[str, str]:
        seen.extend(photos)
        return {}

    monkeypatch.setattr("fdikp_edge.export.picture_layers.keep_for_pictures", counted)
    model = lowered(0.25)
    pictures = choose(shipped_photos(), SIZE, count=34).arrays()
    samples = [Sample("", {model.inputs[0].name: picture}) for picture in pictures]
    calibrate(model, samples=samples, least_work=0)
    assert len(seen) == 32
    for (array,), picture in zip(seen, pictures, strict=False):
        assert np.array_equal(array, picture)
