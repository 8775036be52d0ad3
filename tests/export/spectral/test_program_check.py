"""Where the network itself has no digits on the example inputs, the lowering is held against it elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from fdikp_edge.export.spectral import lower
from fdikp_edge.export.spectral.rules import COMPLEX_RULES
from fdikp_edge.runtime.errors import LoweringFaultError
from spectral_networks.checks import Twin, as_tuple
from torch import Tensor

NOISE = torch.randn(2, 3, 16, generator=torch.Generator().manual_seed(0))


def cancelled(x: Tensor) -> Tensor:
    return x - torch.fft.irfft(torch.fft.rfft(x))


def imaginary_of_real(x: Tensor) -> Tensor:
    return torch.fft.fft(torch.fft.ifft(x)).imag


def phase(x: Tensor) -> Tensor:
    return torch.fft.rfft2(x).angle()


CASES: list[tuple[Callable[[Tensor], Tensor], Tensor]] = [
    (cancelled, NOISE.double()),
    (cancelled, NOISE),
    (imaginary_of_real, NOISE.double()),
    (phase, torch.full((1, 8, 8), 0.3)),
    (phase, torch.full((1, 12, 10), 0.3)),
    (phase, torch.zeros(1, 12, 10)),
]


@pytest.mark.parametrize(("function", "x"), CASES)
def test_a_network_without_digits_is_lowered_and_says_so(
    function: Callable[[Tensor], Tensor], x: Tensor
) -> None:
    lowered = lower(Twin(function).eval(), (x,))
    noise = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(7))
    (got,), (want,) = as_tuple(lowered.program.module()(noise)), Twin(function)(noise)
    largest = 1e-6 * max(1.0, float(want.abs().max()))
    turns = torch.remainder(got - want + torch.pi, 2 * torch.pi) - torch.pi
    assert float((turns if function is phase else got - want).abs().max()) < largest
    assert any("self check" in note for note in lowered.audit.notes) or lowered.audit.self_check < 1e-6


def test_a_fault_is_found_where_the_example_inputs_would_hide_it(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = COMPLEX_RULES["angle"]

    def other_sign(*args: Any) -> Any:
        return -rule(*args)

    monkeypatch.setitem(COMPLEX_RULES, "angle", other_sign)
    with pytest.raises(LoweringFaultError, match=r"aten\.angle"):
        lower(Twin(phase).eval(), (torch.full((1, 8, 8), 0.3),))


def test_a_fault_in_double_precision_is_still_found(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = COMPLEX_RULES["mul"]
    monkeypatch.setitem(COMPLEX_RULES, "mul", lambda *a: rule(*a).map(lambda part: part * (1 + 1e-7)))
    with pytest.raises(LoweringFaultError, match=r"aten\.mul"):
        lower(Twin(lambda x: torch.fft.irfft(torch.fft.rfft(x) * 1j)).eval(), (NOISE.double(),))
