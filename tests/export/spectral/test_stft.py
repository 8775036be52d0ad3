"""Short-time transforms, with a window that is a constant and with one that is an input."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fdikp_edge.export.spectral import lower
from spectral_networks.checks import Twin, as_tuple, assert_close, assert_real
from torch import Tensor, nn

SIGNAL = torch.randn(2, 200, generator=torch.Generator().manual_seed(0))

FORWARD: list[dict[str, Any]] = [
    {"n_fft": 32},
    {"n_fft": 32, "hop_length": 5, "center": False},
    {"n_fft": 32, "win_length": 20, "pad_mode": "constant"},
    {"n_fft": 31, "hop_length": 7, "pad_mode": "replicate", "normalized": True},
    {"n_fft": 24, "onesided": False},
    {"n_fft": 32, "win_length": 20, "center": False, "align_to_window": True},
]
BACKWARD: list[dict[str, Any]] = [
    {"n_fft": 32, "hop_length": 8},
    {"n_fft": 32, "hop_length": 8, "length": 170},
    {"n_fft": 32, "hop_length": 8, "length": 260},
    {"n_fft": 30, "hop_length": 6, "win_length": 21, "normalized": True},
    {"n_fft": 31, "hop_length": 8},
    {"n_fft": 31, "hop_length": 8, "win_length": 23, "normalized": True, "length": 190},
    {"n_fft": 31, "hop_length": 8, "onesided": False},
    {"n_fft": 32, "hop_length": 8, "onesided": False},
    {"n_fft": 32, "hop_length": 8, "return_complex": True, "onesided": False},
]


class Head(nn.Module):
    """A transform whose window is a buffer that is no parameter, or the second input."""

    def __init__(self, length: int, options: dict[str, Any], inverse: bool, given: bool) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(length) + 0.1, persistent=False)
        self.options, self.inverse, self.given = options, inverse, given

    def forward(self, x: Tensor, window: Tensor) -> Tensor:
        """`x` is a signal, or a spectrum with a last axis of 2."""
        window = window if self.given else self.window
        if self.inverse:
            y = torch.istft(torch.view_as_complex(x), window=window, **self.options)
        else:
            y = torch.stft(x, window=window, return_complex=True, **self.options)
        return torch.view_as_real(y) if y.is_complex() else y


def check(options: dict[str, Any], x: Tensor, inverse: bool, given: bool) -> Any:
    length = options.get("win_length", options["n_fft"])
    head = Head(length, options, inverse, given).eval()
    inputs = (x, torch.hamming_window(length) + 0.1)
    lowered = lower(head, inputs)
    assert_real(lowered.program)
    want = head.double()(*(value.double() for value in inputs))
    assert_close(as_tuple(lowered.program.module()(*inputs)), as_tuple(want), 2e-6)
    return lowered


@pytest.mark.parametrize("given", [False, True], ids=["buffer", "input"])
@pytest.mark.parametrize("options", FORWARD, ids=str)
def test_forward(options: dict[str, Any], given: bool) -> None:
    lowered = check(options, SIGNAL, False, given)
    if not given:
        assert lowered.audit.operators["aten.conv1d.default"] == 2, "one convolution for each part"
        assert "aten.to.dtype" not in lowered.audit.operators


@pytest.mark.parametrize("given", [False, True], ids=["buffer", "input"])
@pytest.mark.parametrize("options", BACKWARD, ids=str)
def test_backward(options: dict[str, Any], given: bool) -> None:
    n_fft = options["n_fft"]
    bins = n_fft // 2 + 1 if options.get("onesided", True) else n_fft
    spectrum = torch.randn(2, bins, 25, 2, generator=torch.Generator().manual_seed(1))
    lowered = check(options, spectrum, True, given)
    assert "aten.div.Tensor" not in lowered.audit.operators or given, "the envelope is a constant"


def test_a_complex_signal_and_a_complex_window() -> None:
    def both(re: Tensor, im: Tensor) -> Tensor:
        window = torch.complex(torch.hann_window(16, dtype=re.dtype), torch.ones(16, dtype=re.dtype))
        return torch.stft(torch.complex(re, im), 16, 4, window=window, return_complex=True)

    inputs = (SIGNAL, SIGNAL.flip(1))
    twin = Twin(both).eval()
    got = as_tuple(lower(twin, inputs).program.module()(*inputs))
    assert_close(got, twin(*(value.double() for value in inputs)), 2e-6)


def test_the_constants_are_as_large_as_the_transform() -> None:
    audit = check({"n_fft": 32, "hop_length": 8}, SIGNAL, False, False).audit
    assert audit.constants_bytes == 2 * 17 * 32 * 4
    (row,) = audit.short_time
    frames = 1 + SIGNAL.shape[1] // 8
    assert (row.name, row.multiply_adds) == ("stft", SIGNAL.shape[0] * frames * 2 * 17 * 32)
    assert row.constants_bytes == audit.constants_bytes
    assert audit.to_json()["short_time"] == [row.to_json()]
    assert str(row) in audit.notes and "1 short-time transforms" in audit.summary()


def test_the_way_back_is_counted_too() -> None:
    spectrum = torch.randn(2, 17, 25, 2, generator=torch.Generator().manual_seed(1))
    (row,) = check({"n_fft": 32, "hop_length": 8}, spectrum, True, False).audit.short_time
    assert row.multiply_adds == 2 * 25 * 17 * 32 * 2
    envelope = 8 * 24
    assert row.constants_bytes == 4 * (2 * 17 * 32 + envelope)


@pytest.mark.parametrize("given", [False, True], ids=["constant", "input"])
def test_a_window_in_double_precision_makes_the_result_so(given: bool) -> None:
    fixed = torch.hann_window(16, dtype=torch.float64) + 0.1

    def both(x: Tensor) -> tuple[Tensor, Tensor]:
        window = x[0, :16].double().abs() + 0.5 if given else fixed
        spectrum = torch.stft(x, 16, 4, window=window, return_complex=True)
        return spectrum, torch.istft(spectrum.to(torch.complex64), 16, 4, window=window)

    got = as_tuple(lower(Twin(both).eval(), (SIGNAL,)).program.module()(SIGNAL))
    want = Twin(both)(SIGNAL)
    assert [value.dtype for value in got] == [value.dtype for value in want]
    assert_close(got, want, 1e-6)


@pytest.mark.parametrize("given", [False, True], ids=["constant", "input"])
def test_a_narrow_window_on_double_precision(given: bool) -> None:
    fixed = torch.hann_window(32) + 0.1

    def both(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        window = w if given else fixed
        spectrum = torch.stft(x, 32, 8, window=window, return_complex=True)
        return spectrum, torch.istft(spectrum, 32, 8, window=window)

    inputs = (SIGNAL.double(), fixed.flip(0) + 0.1)
    got = as_tuple(lower(Twin(both).eval(), inputs).program.module()(*inputs))
    want = Twin(both)(*inputs)
    assert [value.dtype for value in got] == [value.dtype for value in want]
    assert_close(got, want, 1e-6)
