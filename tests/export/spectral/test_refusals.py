"""What cannot be lowered is refused with a typed error that says what and where."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from fdikp_edge.export.spectral import lower
from fdikp_edge.runtime.errors import (
    BadInputError,
    DynamicShapeError,
    FdikpEdgeError,
    LoweringError,
    UnsupportedOperatorError,
)
from torch import Tensor, nn

IMAGE = torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(0))


class Of(nn.Module):
    """A function as a module, two levels down, so that messages have a path to name."""

    class Inner(nn.Module):
        def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
            super().__init__()
            self.function = function

        def forward(self, x: Tensor) -> Tensor:
            return self.function(x)

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Identity(), self.Inner(function))

    def forward(self, x: Tensor) -> Tensor:
        return self.encoder(x)


WITHOUT_A_RULE: list[tuple[str, Callable[[Tensor], Tensor]]] = [
    ("aten.cholesky", lambda x: torch.cholesky(torch.fft.fft2(x)).abs()),
    ("aten.linalg_qr", lambda x: torch.linalg.qr(torch.fft.fft2(x))[1].abs()),
    ("aten.linalg_eigvals", lambda x: torch.linalg.eigvals(x).abs()),
    (
        "aten.scatter.reduce",
        lambda x: (lambda z: torch.scatter(z, 3, torch.zeros(1, 2, 8, 3).long(), z, reduce="multiply").abs())(
            torch.fft.fft2(x)
        ),
    ),
    ("aten.linalg_inv", lambda x: torch.linalg.inv(torch.fft.fft2(x.repeat(1, 1, 2, 2))).abs()),
]


@pytest.mark.parametrize(("operator", "function"), WITHOUT_A_RULE, ids=[name for name, _ in WITHOUT_A_RULE])
def test_operators_without_a_rule(operator: str, function: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(UnsupportedOperatorError) as caught:
        lower(Of(function).eval(), (IMAGE,))
    message = str(caught.value)
    assert operator in message
    assert "encoder.1" in message
    assert len(message) < 400, "the message is for people, not a trace"
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("inputs", [IMAGE, [IMAGE], (IMAGE.numpy(),), ("image",), None])
def test_inputs_that_are_no_tuple_of_tensors(inputs: object) -> None:
    with pytest.raises(BadInputError, match="tuple"):
        lower(Of(torch.abs).eval(), inputs)  # type: ignore[arg-type]


def masked(x: Tensor) -> Tensor:
    return x[x.abs() > 0.5].sum()


def branching(x: Tensor) -> Tensor:
    return torch.fft.rfft2(x).abs() if x.sum() > 0 else x


def condition(x: Tensor) -> Tensor:
    return torch.cond(x.sum() > 0, lambda v: v.sin(), lambda v: v.cos(), (x,))


def counted(x: Tensor) -> Tensor:
    return torch.fft.irfft(torch.fft.rfft(x), n=int(x.argmax().item()) + 2)


def sparse_positions(x: Tensor) -> Tensor:
    return torch.nonzero(torch.fft.rfft2(x).abs() > 1)


@pytest.mark.parametrize("function", [masked, branching, condition, counted, sparse_positions])
def test_shapes_and_branches_that_depend_on_data(function: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(DynamicShapeError) as caught:
        lower(Of(function).eval(), (IMAGE,))
    assert len(str(caught.value)) < 600, "the message is for people, not a trace"


def test_training_mode_is_refused_where_it_matters() -> None:
    class Normalised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(2)

        def forward(self, x: Tensor) -> Tensor:
            return torch.fft.rfft2(self.norm(x)).abs()

    with pytest.raises(LoweringError, match="eval"):
        lower(Normalised().train(), (IMAGE,))
    lower(Normalised().eval(), (IMAGE,))


def test_networks_that_fail_by_themselves_say_so() -> None:
    with pytest.raises(FdikpEdgeError) as caught:
        lower(Of(lambda x: x @ torch.ones(3, 3)).eval(), (IMAGE,))
    assert isinstance(caught.value, LoweringError)


def test_too_few_inputs() -> None:
    class Two(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return torch.fft.rfft2(a).abs() * b

    with pytest.raises(LoweringError):
        lower(Two().eval(), (IMAGE,))


def test_double_networks_are_lowered_as_they_are() -> None:
    def shifted(x: Tensor) -> Tensor:
        return torch.fft.irfft2(torch.fft.rfft2(x) * (1 + 2j), s=(8, 8))

    double = IMAGE.double()
    output = lower(Of(shifted).eval(), (double,)).program.module()(double)
    assert output.dtype == torch.float64
    assert float((output - shifted(double)).abs().max()) < 1e-13


def test_writing_into_an_input_is_refused_by_that_name() -> None:
    with pytest.raises(LoweringError, match=r"writes into its input.*clone"):
        lower(Of(lambda x: torch.fft.fft2(x.mul_(2)).abs()), (IMAGE.clone(),))


@pytest.mark.filterwarnings("ignore:divide by zero")
def test_an_eager_failure_on_the_example_inputs_is_typed() -> None:
    def back(x: Tensor) -> Tensor:  # a window of zeros, which only the values show to be wrong
        return torch.istft(torch.complex(x[0, 0, :5], x[0, 1, :5]), 8, 2, window=torch.zeros(8))

    with pytest.raises(LoweringError, match="itself fails on the example inputs"):
        lower(Of(back), (IMAGE,))
