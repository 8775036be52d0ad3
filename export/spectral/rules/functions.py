"""Analytic functions of a complex value from real ones, without the cancellation of the textbook forms.

The inverse functions follow W. Kahan, "Branch Cuts for Complex Elementary Functions" (1987): branch cuts lie
where torch has them.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from .. import pairs
from ..pairs import Pair, Value, phase
from .registry import Context, complex_rule


def turned(z: Pair, quarters: int) -> Pair:
    """``i ** quarters * z``."""
    turns = {0: z, 1: Pair(-z.im, z.re), 2: Pair(-z.re, -z.im), 3: Pair(z.im, -z.re)}
    return turns[quarters % 4]


def _area_sine(x: Tensor) -> Tensor:
    """Real ``asinh`` from ``log1p``, odd, exact near 0."""
    size = torch.abs(x)
    square = size * size
    return torch.sign(x) * torch.log1p(size + square / (1 + torch.sqrt(1 + square)))


def _roots(z: Pair) -> tuple[Pair, Pair]:
    """``sqrt(1 - z)`` and ``sqrt(1 + z)``."""
    minus, plus = Pair(1 - z.re, -z.im), Pair(1 + z.re, z.im)
    return pairs.square_root(minus), pairs.square_root(plus)


def arc_sine(z: Pair) -> Pair:
    """``asin(z)``."""
    minus, plus = _roots(z)
    product = pairs.multiply(pairs.conjugate(minus), plus)
    whole = pairs.multiply(minus, plus)
    return Pair(phase(z.re, whole.re), _area_sine(product.im))


def arc_cosine(z: Pair) -> Pair:
    """``acos(z)``."""
    minus, plus = _roots(z)
    product = pairs.multiply(pairs.conjugate(plus), minus)
    return Pair(2 * phase(minus.re, plus.re), _area_sine(product.im))


def area_tangent(z: Pair) -> Pair:
    """``atanh(z)``."""
    below = (1 - z.re) * (1 - z.re) + z.im * z.im
    angle = phase(2 * z.im, (1 - z.re) * (1 + z.re) - z.im * z.im)
    return Pair(0.25 * torch.log1p(4 * z.re / below), 0.5 * angle)


def hyperbolic_tangent(z: Pair) -> Pair:
    """``tanh(z)`` over a sum of squares: no overflow for large parts, no cancellation near a pole."""
    t, sin, cos = torch.tanh(z.re), torch.sin(z.im), torch.cos(z.im)
    below = cos * cos + t * t * sin * sin
    return Pair(t / below, sin * cos * (1 - t) * (1 + t) / below)


def logistic(z: Pair) -> Pair:
    """``1 / (1 + exp(-z))``."""
    half = hyperbolic_tangent(z.map(lambda part: 0.5 * part))
    return Pair(0.5 + 0.5 * half.re, 0.5 * half.im)


@complex_rule("asin", "arcsin")
def _asin(context: Context, z: Pair) -> Pair:
    return arc_sine(z)


@complex_rule("acos", "arccos")
def _acos(context: Context, z: Pair) -> Pair:
    return arc_cosine(z)


@complex_rule("atan", "arctan")
def _atan(context: Context, z: Pair) -> Pair:
    return turned(area_tangent(turned(z, 1)), 3)


@complex_rule("asinh", "arcsinh")
def _asinh(context: Context, z: Pair) -> Pair:
    return turned(arc_sine(turned(z, 1)), 3)


@complex_rule("acosh", "arccosh")
def _acosh(context: Context, z: Pair) -> Pair:
    minus, plus = pairs.square_root(Pair(z.re - 1, z.im)), pairs.square_root(Pair(z.re + 1, z.im))
    product = pairs.multiply(pairs.conjugate(minus), plus)
    return Pair(_area_sine(product.re), 2 * phase(minus.im, plus.re))


@complex_rule("atanh", "arctanh")
def _atanh(context: Context, z: Pair) -> Pair:
    return area_tangent(z)


@complex_rule("sinh")
def _sinh(context: Context, z: Pair) -> Pair:
    return Pair(torch.sinh(z.re) * torch.cos(z.im), torch.cosh(z.re) * torch.sin(z.im))


@complex_rule("cosh")
def _cosh(context: Context, z: Pair) -> Pair:
    return Pair(torch.cosh(z.re) * torch.cos(z.im), torch.sinh(z.re) * torch.sin(z.im))


@complex_rule("tanh")
def _tanh(context: Context, z: Pair) -> Pair:
    return hyperbolic_tangent(z)


@complex_rule("tan")
def _tan(context: Context, z: Pair) -> Pair:
    return turned(hyperbolic_tangent(turned(z, 1)), 3)


@complex_rule("sigmoid")
def _sigmoid(context: Context, z: Pair) -> Pair:
    return logistic(z)


@complex_rule("silu")
def _silu(context: Context, z: Pair) -> Pair:
    return pairs.multiply(z, logistic(z))


@complex_rule("sinc")
def _sinc(context: Context, z: Pair) -> Pair:
    x = z.map(lambda part: math.pi * part)
    is_zero = torch.logical_and(x.re == 0, x.im == 0)
    safe = Pair(torch.where(is_zero, torch.ones_like(x.re), x.re), x.im)
    sine = Pair(torch.sin(safe.re) * torch.cosh(safe.im), torch.cos(safe.re) * torch.sinh(safe.im))
    quotient = pairs.divide(sine, safe)
    return Pair(
        torch.where(is_zero, torch.ones_like(quotient.re), quotient.re),
        torch.where(is_zero, torch.zeros_like(quotient.im), quotient.im),
    )


@complex_rule("log1p")
def _log1p(context: Context, z: Pair) -> Pair:
    return Pair(0.5 * torch.log1p(2 * z.re + pairs.squared_magnitude(z)), phase(z.im, 1 + z.re))


@complex_rule("log2")
def _log2(context: Context, z: Pair) -> Pair:
    return pairs.logarithm(z).map(lambda part: part / math.log(2))


@complex_rule("log10")
def _log10(context: Context, z: Pair) -> Pair:
    return pairs.logarithm(z).map(lambda part: part / math.log(10))


@complex_rule("exp2")
def _exp2(context: Context, z: Pair) -> Pair:
    return pairs.exponential(z.map(lambda part: part * math.log(2)))


@complex_rule("expm1")
def _expm1(context: Context, z: Pair) -> Pair:
    half = torch.sin(0.5 * z.im)
    re = torch.expm1(z.re) * torch.cos(z.im) - 2 * half * half
    return Pair(re, torch.exp(z.re) * torch.sin(z.im))


@complex_rule("float_power")
def _float_power(context: Context, base: Value, exponent: Value) -> Pair:
    def double(value: Value) -> Value:
        if isinstance(value, Pair):
            return value.map(lambda part: part.double())
        return value.double() if isinstance(value, Tensor) else value

    return pairs.power(double(base), double(exponent))


@complex_rule("ldexp")
def _ldexp(context: Context, z: Value, exponent: Value) -> Pair:
    if isinstance(exponent, Pair):
        scale: Value = pairs.exponential(exponent.map(lambda part: part * math.log(2)))
    else:
        scale = torch.pow(2.0, exponent)  # type: ignore[arg-type]
    return pairs.multiply(z, scale)


def _is_true(value: Value) -> Tensor:
    re, im = pairs.parts(value)
    return re != 0 if im is None else torch.logical_or(re != 0, im != 0)


@complex_rule("logical_not")
def _logical_not(context: Context, z: Value) -> Tensor:
    return torch.logical_not(_is_true(z))


@complex_rule("logical_and", "logical_or", "logical_xor")
def _logical(context: Context, a: Value, b: Value) -> Tensor:
    result: Tensor = context.operator(_is_true(a), _is_true(b))
    return result


@complex_rule("any", "all", "count_nonzero")
def _counted(context: Context, z: Pair, *args: Any, **kwargs: Any) -> Tensor:
    result: Tensor = context.operator(_is_true(z), *args, **kwargs)
    return result


@complex_rule("isreal")
def _isreal(context: Context, z: Pair) -> Tensor:
    return z.im == 0


def log_of_sum(a: Pair, b: Pair) -> Pair:
    """``log(exp(a) + exp(b))`` with the larger real part taken out, so that neither overflows."""
    first = a.re >= b.re
    large = Pair(torch.where(first, a.re, b.re), torch.where(first, a.im, b.im))
    small = Pair(torch.where(first, b.re, a.re), torch.where(first, b.im, a.im))
    rest = pairs.exponential(pairs.subtract(small, large))
    return pairs.add(large, Pair(0.5 * torch.log1p(2 * rest.re + pairs.squared_magnitude(rest)), _turn(rest)))


def _turn(z: Pair) -> Tensor:
    return phase(z.im, 1 + z.re)


@complex_rule("logaddexp")
def _logaddexp(context: Context, a: Value, b: Value) -> Pair:
    shape = context.produced.shape
    wide = [pairs.promote(v).map(lambda part: part.expand(shape)) for v in (a, b)]
    return log_of_sum(*wide)


@complex_rule("dist")
def _dist(context: Context, a: Value, b: Value, p: float = 2) -> Tensor:
    distance: Tensor = torch.linalg.vector_norm(pairs.magnitude(pairs.subtract(a, b)), p)
    return distance
