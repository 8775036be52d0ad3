"""Complex arithmetic next to its twin in torch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from spectral_networks.checks import check_twin, expressions, parts
from torch import Tensor

few = settings(max_examples=4, deadline=None, derandomize=True, database=None, phases=[Phase.generate])
shapes = st.lists(st.integers(1, 5), min_size=1, max_size=4)


UNARY = {
    "views": expressions(
        "z",
        """
        torch.real(z)
        torch.imag(z)
        torch.conj(z)
        torch.view_as_real(z)
        z.real
        z.imag
        torch.conj_physical(z)
        torch.resolve_conj(z)
        z.conj().imag
        z.conj().conj()
        """,
    ),
    "magnitudes": expressions(
        "z",
        """
        torch.abs(z)
        torch.angle(z)
        torch.sgn(z)
        z.abs().square()
        z.abs() ** 2
        torch.abs(z.conj())
        z / z.abs()
        (z * z.conj()).real
        """,
    ),
    "powers": expressions(
        "z",
        """
        torch.square(z)
        torch.sqrt(z)
        torch.rsqrt(z)
        torch.reciprocal(z)
        z ** 2
        z ** 3
        z ** (-1)
        z ** 0
        z ** 1
        z ** 0.5
        z ** 1.7
        z ** (-2)
        z ** (1 - 1j)
        2 ** z
        torch.pow(z, torch.tensor(2.0))
        torch.pow(z, z * 0.5)
        """,
    ),
    "exponentials": expressions(
        "z",
        """
        torch.exp(z)
        torch.log(z)
        torch.neg(z)
        torch.exp(1j * z.angle())
        torch.exp(1j * z)
        torch.exp(-z.abs() * 1j)
        torch.sin(z.real) + 1j * torch.cos(z.imag)
        torch.positive(z)
        torch.polar(z.abs(), z.angle())
        torch.complex(z.imag, z.real)
        torch.log10(z.abs())
        torch.log1p(z.abs())
        """,
    ),
}


@pytest.mark.parametrize("group", UNARY)
@few
@given(shapes)
def test_unary(group: str, shape: list[int]) -> None:
    def run(re: Tensor, im: Tensor) -> dict[str, Any]:
        return {source: f(torch.complex(re, im)) for source, f in UNARY[group].items()}

    check_twin(run, *parts(shape))


BINARY = {
    "both complex": expressions(
        "a b r",
        """
        a + b
        a - b
        a * b
        a / b
        torch.add(a, b, alpha=2)
        torch.sub(a, b, alpha=0.5)
        torch.add(a, b, alpha=1j)
        torch.rsub(a, b)
        a * b.conj()
        torch.true_divide(a, b.conj())
        torch.where(r > 0, a, b)
        """,
    ),
    "with a real tensor": expressions(
        "a b r",
        """
        a + r
        r + a
        a - r
        r - a
        a * r
        r * a
        a / r
        r / a
        torch.add(r, a, alpha=3)
        torch.sub(a, r, alpha=3)
        torch.where(r > 0, a, torch.zeros_like(a))
        torch.where(r > 0, a, r)
        a * (r > 0)
        r.to(torch.cfloat) * 1j
        a * r.long()
        """,
    ),
    "with numbers": expressions(
        "a b r",
        """
        a + 2
        2 + a
        a - (1 + 2j)
        1 + 2j - a
        3 - a
        a * 0.5
        a * (2 - 1j)
        a / 4
        a / (2 - 1j)
        2 / a
        (2 - 1j) / a
        r * 1j
        r + 1j
        1j - r
        r / (1 + 1j)
        (1 + 1j) / r
        a * True
        torch.where(r > 0, a, 0)
        a.masked_fill(r > 0, 1j)
        -a * 1j + torch.tensor(2.0) * a + a * torch.tensor(1 + 2j)
        """,
    ),
    "fused": expressions(
        "a b r",
        """
        torch.addcmul(a, b, a, value=2)
        torch.addcdiv(a, b, a + 3, value=0.5)
        torch.lerp(a, b, 0.25)
        (a - b).abs() / (a.abs() + b.abs())
        torch.complex(r, torch.zeros_like(r)) * a
        a * (a == b)
        b * (a != b)
        a * (r == a)
        a * torch.isfinite(b)
        a.mul(b).sub(r).div(b)
        """,
    ),
}


@pytest.mark.parametrize("group", BINARY)
@few
@given(shapes, st.data())
def test_binary(group: str, shape: list[int], data: st.DataObject) -> None:
    """Shapes broadcast against one another: each operand drops leading axes and flattens some to 1."""

    def thinner() -> list[int]:
        kept = shape[data.draw(st.integers(0, len(shape) - 1)) :]
        return [1 if data.draw(st.booleans()) else size for size in kept]

    left, right, real = parts(shape), parts(thinner(), seed=1), parts(thinner(), 1, seed=2)

    def run(ar: Tensor, ai: Tensor, br: Tensor, bi: Tensor, r: Tensor) -> dict[str, Any]:
        a, b = torch.complex(ar, ai), torch.complex(br, bi)
        return {source: f(a, b, r) for source, f in BINARY[group].items()}

    check_twin(run, *left, *right, *real)


def test_special_values() -> None:
    """Zero, the axes and the branch cut give what torch gives, NaN nowhere."""
    re = torch.tensor([0.0, 1.0, -1.0, 0.0, 0.0, -4.0, 3.0, -3.0])
    im = torch.tensor([0.0, 0.0, 0.0, 1.0, -1.0, 0.0, 4.0, -4.0])

    def run(a: Tensor, b: Tensor) -> list[Tensor]:
        z = torch.complex(a, b)
        return [
            z.abs(),
            z.angle(),
            torch.sgn(z),
            torch.sqrt(z),
            z**2,
            z**0.5,
            torch.exp(z),
            torch.polar(a.abs(), b),
        ]

    check_twin(run, re, im)


def test_roots_keep_their_small_part() -> None:
    """The root of a number close to the real axis: its small part by quotient, not by cancellation."""
    re = torch.tensor([1.0, 1.0, -1.0, 400.0])
    im = torch.tensor([1e-3, -1e-4, 1e-3, 2e-2])

    def run(a: Tensor, b: Tensor) -> list[Tensor]:
        root = torch.sqrt(torch.complex(a, b))
        return [root.real[:2], root.imag[:2] * 1e3, root.real[2:3], root.imag[2:3], root.imag[3:]]

    check_twin(run, re, im, tolerance=1e-5)


def test_real_arguments_of_complex_functions() -> None:
    def run(r: Tensor) -> list[Tensor]:
        return [
            torch.real(r),
            torch.conj(r),
            r.abs(),
            torch.angle(r),
            torch.sgn(r),
            r.to(torch.cfloat),
            r + 0j,
        ]

    check_twin(run, torch.tensor([[1.5, -2.0, 0.0], [3.0, -0.5, 1.0]]))
