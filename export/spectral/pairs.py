"""Complex values as pairs of real tensors, and the arithmetic on them.

The lowered program has no complex dtype: a complex tensor of shape ``S`` travels as ``Pair(re, im)``, two
real tensors of shape ``S``. Everything here is ordinary torch code on real tensors, so tracing it yields real
operators.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

REAL_OF: dict[torch.dtype, torch.dtype] = {
    torch.complex32: torch.float16,
    torch.complex64: torch.float32,
    torch.complex128: torch.float64,
}


@dataclass(frozen=True)
class Pair:
    """A complex tensor as two real tensors of one shape and dtype."""

    re: Tensor
    im: Tensor

    def map(self, function: Callable[[Tensor], Tensor]) -> Pair:
        """Apply a linear, componentwise ``function`` to both parts."""
        return Pair(function(self.re), function(self.im))


@dataclass(frozen=True)
class Interleaved:
    """``view_as_real`` of a pair, not yet built: most programs take ``[..., 0]`` and ``[..., 1]`` of it."""

    pair: Pair

    def materialize(self) -> Tensor:
        """The real tensor ``[..., 2]``, re before im."""
        return torch.stack([self.pair.re, self.pair.im], dim=-1)


Scalar: TypeAlias = "int | float | complex | bool"
Value: TypeAlias = "Pair | Tensor | Scalar"


def is_complex_value(value: Any) -> bool:
    """True for a pair or a Python complex number."""
    return isinstance(value, Pair | complex)


def parts(value: Value) -> tuple[Any, Any]:
    """(re, im) of any value; ``im`` is ``None`` where the value is real."""
    if isinstance(value, Pair):
        return value.re, value.im
    if isinstance(value, complex):
        return value.real, (value.imag if value.imag != 0 else None)
    return value, None


def promote(value: Value, like: Pair | Tensor | None = None) -> Pair:
    """Give any value both parts. A Python scalar takes shape and dtype from ``like``."""
    if isinstance(value, Pair):
        return value
    if isinstance(value, Tensor):
        if not value.is_floating_point():
            value = value.to(torch.get_default_dtype() if like is None else _real(like).dtype)
        return Pair(value, torch.zeros_like(value))
    if like is None:
        raise TypeError("a scalar needs a tensor to take its shape from")
    number = complex(value)
    return Pair(torch.full_like(_real(like), number.real), torch.full_like(_real(like), number.imag))


def _real(value: Pair | Tensor) -> Tensor:
    return value.re if isinstance(value, Pair) else value


def _plus(a: Any, b: Any, alpha: float = 1) -> Any:
    """``a + alpha b`` where ``None`` is an absent (zero) part."""
    if b is None:
        return a
    scaled = b if alpha == 1 else b * alpha
    if a is None:
        return scaled
    return a + scaled


def _minus(a: Any, b: Any) -> Any:
    if b is None:
        return a
    return -b if a is None else a - b


def broadcast_shape(*values: Tensor) -> torch.Size:
    """Shape of an elementwise result."""
    broadcast: Any = torch.broadcast_shapes  # torch leaves it without types
    shape: torch.Size = broadcast(*(value.shape for value in values))
    return shape


def _finish(re: Any, im: Any) -> Pair:
    """Fill an absent part with zeros and bring both parts to one shape."""
    tensors = [part for part in (re, im) if isinstance(part, Tensor)]
    shape = broadcast_shape(*tensors)
    model = next((part for part in tensors if part.shape == shape), tensors[0])

    def full(part: Any) -> Tensor:
        if isinstance(part, Tensor):
            return part if part.shape == shape else part.expand(shape)
        zeros = model.new_zeros(shape)
        return zeros if part is None or part == 0 else zeros + part

    return Pair(full(re), full(im))


def add(a: Value, b: Value, alpha: Scalar = 1) -> Pair:
    """``a + alpha b``."""
    if alpha != 1:
        b = _scaled(b, alpha)
    (ar, ai), (br, bi) = parts(a), parts(b)
    return _finish(_plus(ar, br), _plus(ai, bi))


def _scaled(value: Any, factor: Any) -> Value:
    if is_complex_value(value) or is_complex_value(factor):
        return multiply(value, factor)
    scaled: Value = value * factor
    return scaled


def subtract(a: Value, b: Value, alpha: Scalar = 1) -> Pair:
    """``a - alpha b``."""
    if alpha != 1:
        b = _scaled(b, alpha)
    (ar, ai), (br, bi) = parts(a), parts(b)
    return _finish(_minus(ar, br), _minus(ai, bi))


def bilinear(product: Callable[[Any, Any], Any], a: Value, b: Value) -> Pair:
    """Extend a real bilinear ``product`` to complex operands; a real operand costs two products, not four."""
    (ar, ai), (br, bi) = parts(a), parts(b)
    if ai is None and bi is None:
        return promote(product(ar, br))
    if bi is None:
        return Pair(product(ar, br), product(ai, br))
    if ai is None:
        return Pair(product(ar, br), product(ar, bi))
    return Pair(product(ar, br) - product(ai, bi), product(ar, bi) + product(ai, br))


def multiply(a: Value, b: Value) -> Pair:
    """Elementwise product with broadcasting."""
    for one, other in ((a, b), (b, a)):
        if isinstance(one, complex) and one.imag != 0 and isinstance(other, Tensor):
            return Pair(other * one.real, other * one.imag)
    return bilinear(lambda x, y: x * y, a, b)


def conjugate(z: Pair) -> Pair:
    """Complex conjugate."""
    return Pair(z.re, -z.im)


def squared_magnitude(z: Pair) -> Tensor:
    """``re² + im²``."""
    return z.re * z.re + z.im * z.im


def magnitude(z: Pair) -> Tensor:
    """``|z|``; plain square root of the squares, as every runtime computes it."""
    return torch.sqrt(squared_magnitude(z))


def reciprocal(z: Pair) -> Pair:
    """``1 / z``."""
    scale = torch.reciprocal(squared_magnitude(z))
    return Pair(z.re * scale, -z.im * scale)


def divide(a: Value, b: Value) -> Pair:
    """``a / b``: by a real divisor part for part, by a complex one through ``a conj(b) / |b|²``."""
    br, bi = parts(b)
    if bi is None:
        numerator = a if isinstance(a, Pair) else promote(a, like=br)
        return Pair(numerator.re / br, numerator.im / br)
    if not isinstance(b, Pair):
        return multiply(a, 1 / complex(br, bi))
    numerator = multiply(a, conjugate(b))
    scale = squared_magnitude(b)
    return Pair(numerator.re / scale, numerator.im / scale)


def angle(z: Pair) -> Tensor:
    """Phase in (-pi, pi]."""
    return phase(z.im, z.re)


def arc_tangent(x: Tensor) -> Tensor:
    """``atan(x)``; in float64 from the one of float32, since ONNX Runtime has no other.

    ``tan(atan(x) - a) = (x cos a - sin a) / (cos a + x sin a)`` is exact, and its left side is the angle
    itself to 1e-21 where ``a`` is ``atan(x)`` in float32.
    """
    if x.dtype != torch.float64:
        return torch.atan(x)
    # Beyond 2^53 the result is pi / 2 in float64, and infinity times the cosine is not a number.
    x = torch.clamp(x, -(2.0**60), 2.0**60)
    near = torch.atan(x.to(torch.float32)).to(torch.float64)
    cosine, sine = torch.cos(near), torch.sin(near)
    return near + (x * cosine - sine) / (cosine + x * sine)


def phase(im: Tensor, re: Tensor) -> Tensor:
    """``atan2(im, re)`` from ``atan``: not every runtime has ``atan2``, and some err on the axes."""
    safe = torch.where(re == 0, torch.ones_like(re), re)
    behind = torch.where(im < 0, torch.full_like(im, -math.pi), torch.full_like(im, math.pi))
    beside = arc_tangent(im / safe) + torch.where(re < 0, behind, torch.zeros_like(behind))
    return torch.where(re == 0, torch.sign(im) * (math.pi / 2), beside)


def polar(radius: Any, phase: Tensor) -> Pair:
    """``radius exp(i phase)``."""
    return Pair(radius * torch.cos(phase), radius * torch.sin(phase))


def exponential(z: Pair) -> Pair:
    """``exp(z)``."""
    return polar(torch.exp(z.re), z.im)


def logarithm(z: Pair) -> Pair:
    """Principal ``log(z)``."""
    return Pair(torch.log(magnitude(z)), angle(z))


def square_root(z: Pair) -> Pair:
    """Principal square root without trigonometry.

    The larger part comes from the half-sum of ``|z|`` and ``|re|``, the other one from ``im / 2`` divided by
    it: the difference of two nearly equal numbers never appears (Kahan, "Branch Cuts for Complex Elementary
    Functions").
    """
    larger = torch.sqrt((magnitude(z) + torch.abs(z.re)) * 0.5)
    safe = torch.where(larger == 0, torch.ones_like(larger), larger)
    smaller = torch.abs(z.im) * 0.5 / safe
    right_half = z.re >= 0
    im = torch.where(right_half, smaller, larger)
    return Pair(torch.where(right_half, larger, smaller), torch.where(z.im < 0, -im, im))


def power(base: Value, exponent: Value) -> Pair:
    """``base ** exponent``: small whole exponents by multiplication, others by ``exp`` and ``log``."""
    if isinstance(base, Pair) and isinstance(exponent, int | float):
        if float(exponent).is_integer() and abs(exponent) <= 8:
            return _whole_power(base, int(exponent))
        if exponent == 0.5:
            return square_root(base)
    if isinstance(base, Pair) and not isinstance(exponent, Pair | complex):  # polar form, exact at radius 0
        return polar(torch.pow(magnitude(base), exponent), angle(base) * exponent)
    if not isinstance(base, Pair | Tensor):
        if not isinstance(exponent, Pair):
            raise TypeError("power of a scalar needs a tensor exponent")
        base = promote(base, like=exponent)
    return exponential(multiply(exponent, logarithm(promote(base))))


def _whole_power(base: Pair, exponent: int) -> Pair:
    if exponent < 0:
        return reciprocal(_whole_power(base, -exponent))
    if exponent == 0:
        return Pair(torch.ones_like(base.re), torch.zeros_like(base.re))
    half = _whole_power(base, exponent // 2) if exponent > 1 else None
    if half is None:
        return base
    square = multiply(half, half)
    return multiply(square, base) if exponent % 2 else square


def sign(z: Pair) -> Pair:
    """``z / |z|``, and 0 at 0 (``torch.sgn``)."""
    size = magnitude(z)
    safe = torch.where(size == 0, torch.ones_like(size), size)
    return Pair(z.re / safe, z.im / safe)
