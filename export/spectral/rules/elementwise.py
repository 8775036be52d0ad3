"""Elementwise functions of complex values."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import pairs
from ..pairs import Pair, Value
from .portable import vector_norm
from .registry import Context, complex_rule


@complex_rule("add")
def _add(context: Context, a: Value, b: Value, *, alpha: Any = 1) -> Pair:
    return _shaped(context, pairs.add(a, b, alpha))


@complex_rule("sub")
def _sub(context: Context, a: Value, b: Value, *, alpha: Any = 1) -> Pair:
    return _shaped(context, pairs.subtract(a, b, alpha))


@complex_rule("rsub")
def _rsub(context: Context, a: Value, b: Value, alpha: Any = 1) -> Pair:
    return _shaped(context, pairs.subtract(b, a, alpha))


@complex_rule("mul")
def _mul(context: Context, a: Value, b: Value) -> Pair:
    return pairs.multiply(a, b)


@complex_rule("div.Tensor", "div.Scalar", "true_divide")
def _div(context: Context, a: Value, b: Value) -> Pair:
    return pairs.divide(a, b)


@complex_rule("neg")
def _neg(context: Context, z: Pair) -> Pair:
    return z.map(torch.neg)


@complex_rule("conj", "_conj", "conj_physical", "_conj_physical")
def _conj(context: Context, z: Pair) -> Pair:
    return pairs.conjugate(z)


@complex_rule("abs")
def _abs(context: Context, z: Pair) -> Tensor:
    return pairs.magnitude(z)


@complex_rule("angle")
def _angle(context: Context, z: Pair) -> Tensor:
    return pairs.angle(z)


@complex_rule("polar")
def _polar(context: Context, radius: Tensor, phase: Tensor) -> Pair:
    return pairs.polar(radius, phase)


@complex_rule("exp")
def _exp(context: Context, z: Pair) -> Pair:
    return pairs.exponential(z)


@complex_rule("log")
def _log(context: Context, z: Pair) -> Pair:
    return pairs.logarithm(z)


@complex_rule("sqrt")
def _sqrt(context: Context, z: Pair) -> Pair:
    return pairs.square_root(z)


@complex_rule("rsqrt")
def _rsqrt(context: Context, z: Pair) -> Pair:
    return pairs.reciprocal(pairs.square_root(z))


@complex_rule("reciprocal")
def _reciprocal(context: Context, z: Pair) -> Pair:
    return pairs.reciprocal(z)


@complex_rule("square")
def _square(context: Context, z: Pair) -> Pair:
    return pairs.multiply(z, z)


@complex_rule("pow")
def _pow(context: Context, base: Value, exponent: Value) -> Pair:
    return pairs.power(base, exponent)


@complex_rule("sgn")
def _sgn(context: Context, z: Pair) -> Pair:
    return pairs.sign(z)


@complex_rule("sin")
def _sin(context: Context, z: Pair) -> Pair:
    return Pair(torch.sin(z.re) * torch.cosh(z.im), torch.cos(z.re) * torch.sinh(z.im))


@complex_rule("cos")
def _cos(context: Context, z: Pair) -> Pair:
    return Pair(torch.cos(z.re) * torch.cosh(z.im), -torch.sin(z.re) * torch.sinh(z.im))


@complex_rule("addcmul")
def _addcmul(context: Context, z: Value, a: Value, b: Value, *, value: Any = 1) -> Pair:
    return _shaped(context, pairs.add(z, pairs.multiply(a, b), value))


@complex_rule("addcdiv")
def _addcdiv(context: Context, z: Value, a: Value, b: Value, *, value: Any = 1) -> Pair:
    return _shaped(context, pairs.add(z, pairs.divide(a, b), value))


@complex_rule("linalg_vector_norm")
def _norm(context: Context, z: Pair, *args: Any, **kwargs: Any) -> Tensor:
    kwargs.pop("dtype", None)
    return vector_norm(pairs.magnitude(z), *args, **kwargs).to(context.produced.dtype)


@complex_rule("lerp.Scalar", "lerp.Tensor")
def _lerp(context: Context, start: Value, end: Value, weight: Value) -> Pair:
    return _shaped(context, pairs.add(start, pairs.multiply(pairs.subtract(end, start), weight)))


@complex_rule("eq", "ne")
def _compare(context: Context, a: Value, b: Value) -> Tensor:
    (ar, ai), (br, bi) = pairs.parts(a), pairs.parts(b)
    imaginary = (0 if ai is None else ai) == (0 if bi is None else bi)
    equal = torch.logical_and(ar == br, torch.as_tensor(imaginary))
    return equal if "eq" in str(context.operator) else torch.logical_not(equal)


@complex_rule("isfinite", "isnan", "isinf")
def _classify(context: Context, z: Pair) -> Tensor:
    re, im = context.operator(z.re), context.operator(z.im)
    both = torch.logical_and if "isfinite" in str(context.operator) else torch.logical_or
    return both(re, im)


def _shaped(context: Context, z: Pair) -> Pair:
    """A real operand that broadcasts or widens the result (image plus complex column) shapes both parts."""
    shape, dtype = context.produced.shape, context.real_dtype

    def shaped(part: Tensor) -> Tensor:
        part = part if part.shape == shape else part.expand(shape)
        return part if part.dtype == dtype else part.to(dtype)

    return z.map(shaped)
