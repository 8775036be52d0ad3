"""A lowering that computes something else than the network is an error with the place, never a result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from fdikp_edge.export.spectral import lower
from fdikp_edge.export.spectral.rules import COMPLEX_RULES
from fdikp_edge.runtime.errors import LoweringFaultError
from torch import Tensor, nn

X = torch.randn(2, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A complex product inside a named module."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Identity(), Inner())

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.irfft(self.block(x)) + 1


class Inner(nn.Module):
    """Where the operator under test stands."""

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(x)
        return spectrum * torch.conj(spectrum) * 1j


RULE = COMPLEX_RULES["mul"]


def wrong_value(context: Any, *args: Any) -> Any:
    return RULE(context, *args).map(lambda part: part * 1.1)


def not_finite(context: Any, *args: Any) -> Any:
    return RULE(context, *args).map(lambda part: part / 0)


def wrong_shape(context: Any, *args: Any) -> Any:
    return RULE(context, *args).map(lambda part: part[None])


def wrong_dtype(context: Any, *args: Any) -> Any:
    return RULE(context, *args).map(lambda part: part.double())


def real_instead_of_complex(context: Any, *args: Any) -> Any:
    return RULE(context, *args).re


def crash(context: Any, *args: Any) -> Any:
    raise ZeroDivisionError("by hand")


BROKEN = [wrong_value, not_finite, wrong_shape, wrong_dtype, real_instead_of_complex, crash]


@pytest.mark.parametrize("rule", BROKEN, ids=lambda rule: rule.__name__)
def test_a_broken_rule_is_named(rule: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    lower(Net().eval(), (X,))
    monkeypatch.setitem(COMPLEX_RULES, "mul", rule)
    with pytest.raises(LoweringFaultError) as caught:
        lower(Net().eval(), (X,))
    assert "aten.mul" in str(caught.value) and "block.1" in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_network_that_draws_random_numbers_is_not_compared() -> None:
    class Noisy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.rfft(x + torch.randn_like(x)).abs()

    assert lower(Noisy().eval(), (X,)).audit.self_check is None


def test_a_network_without_digits_is_allowed_its_own_error() -> None:
    class Cancelling(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.irfft(torch.fft.rfft(x * 1e6)) - x * 1e6

    lower(Cancelling().eval(), (X,))
