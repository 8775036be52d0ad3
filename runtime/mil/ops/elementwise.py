"""Operations on each element by itself, with NumPy's broadcasting, which is MIL's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..immediate import Array
from .registry import OPERATIONS, Call, Result, operation

_BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "real_div": np.divide,
    "floor_div": np.floor_divide,
    "mod": np.mod,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "pow": np.power,
    "equal": np.equal,
    "not_equal": np.not_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
}
_UNARY: dict[str, Callable[[Array], Array]] = {
    "abs": np.abs,
    "acos": np.arccos,
    "asin": np.arcsin,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "ceil": np.ceil,
    "cos": np.cos,
    "cosh": np.cosh,
    "exp": np.exp,
    "exp2": np.exp2,
    "floor": np.floor,
    "identity": np.positive,
    "logical_not": np.logical_not,
    "round": np.rint,  # half to even, as coremltools infers it
    "sign": np.sign,
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "square": np.square,
    "tan": np.tan,
    "tanh": np.tanh,
}
# Numerator and denominator of erf(x) / x in x squared, highest power first, for |x| <= 4: the float32 fit
# that Eigen and XLA use, within 2e-7 everywhere.
_ERF_OVER = (
    -2.72614225801306e-10,
    2.77068142495902e-08,
    -2.10102402082508e-06,
    -5.69250639462346e-05,
    -7.34990630326855e-04,
    -2.95459980854025e-03,
    -1.60960333262415e-02,
)
_ERF_UNDER = (
    -1.45660718464996e-05,
    -2.13374055278905e-04,
    -1.68282697438203e-03,
    -7.37332916720468e-03,
    -1.42647390514189e-02,
)
_BLOCK = 1 << 15  # elements that stay in the cache between the steps of a long formula


def _binary(function: Callable[[Array, Array], Array]) -> Callable[[Call], Result]:
    def run(call: Call) -> Result:
        x, y = call.array("x"), call.array("y")
        call.expect(np.broadcast_shapes(x.shape, y.shape))
        return function(x, y)

    return run


def _unary(function: Callable[[Array], Array]) -> Callable[[Call], Result]:
    def run(call: Call) -> Result:
        x = call.array("x")
        return x.copy() if function is np.positive else function(x)

    return run


OPERATIONS.update({name: _binary(function) for name, function in _BINARY.items()})
OPERATIONS.update({name: _unary(function) for name, function in _UNARY.items()})


@operation("log")
def _log(call: Call) -> Result:
    return np.log(call.array("x") + call.real("epsilon", 1e-45))


@operation("inverse")
def _inverse(call: Call) -> Result:
    return np.reciprocal(call.array("x") + call.real("epsilon", 1e-4))


@operation("rsqrt")
def _rsqrt(call: Call) -> Result:
    return np.reciprocal(np.sqrt(call.array("x") + call.real("epsilon", 1e-12)))


@operation("relu")
def _relu(call: Call) -> Result:
    return np.maximum(call.array("x"), np.float32(0))


@operation("leaky_relu")
def _leaky_relu(call: Call) -> Result:
    x = call.array("x")
    return np.where(x >= 0, x, x * call.real("alpha", 0.01))


@operation("sigmoid")
def _sigmoid(call: Call) -> Result:
    return sigmoid(call.array("x"))


@operation("silu")
def _silu(call: Call) -> Result:
    x = call.array("x")
    return x * sigmoid(x)


@operation("softplus")
def _softplus(call: Call) -> Result:
    return np.logaddexp(call.array("x"), np.float32(0))


@operation("clip")
def _clip(call: Call) -> Result:
    return np.clip(call.array("x"), call.real("alpha", -np.inf), call.real("beta", np.inf))


@operation("gelu")
def _gelu(call: Call) -> Result:
    x, mode = call.array("x"), call.text("mode", "EXACT")
    if mode == "EXACT":
        return _in_blocks(lambda v: np.float32(0.5) * v * (1 + _erf(v * np.float32(np.sqrt(0.5)))), x)
    if mode == "TANH_APPROXIMATION":
        inner = np.float32(np.sqrt(2 / np.pi)) * (x + np.float32(0.044715) * x * x * x)
        return np.float32(0.5) * x * (1 + np.tanh(inner))
    if mode == "SIGMOID_APPROXIMATION":
        return x * sigmoid(np.float32(1.702) * x)
    raise ValueError(f"the mode {mode!r:.40} is unknown")


@operation("erf")
def _erf_operation(call: Call) -> Result:
    return _in_blocks(_erf, call.array("x"))


@operation("cast")
def _cast(call: Call) -> Result:
    x, dtype = call.array("x"), call.text("dtype", "")
    names = {"fp16": "float16", "fp32": "float32"}
    if names.get(dtype, dtype) != call.out.dtype:
        raise ValueError(f"casts to {dtype!r:.40}, declared as {call.out}")
    if call.out.dtype == "bool":
        return x != 0
    if call.out.dtype.startswith("float"):
        return x.astype(np.float32)
    return np.trunc(x).astype(call.out.dtype)


@operation("select")
def _select(call: Call) -> Result:
    condition, a, b = call.array("cond"), call.array("a"), call.array("b")
    call.expect(np.broadcast_shapes(condition.shape, a.shape, b.shape))
    return np.where(condition, a, b)


@operation("fill_like")
def _fill_like(call: Call) -> Result:
    call.expect(call.array("ref_tensor").shape)
    value = call.array("value").reshape(())
    return np.full(call.out.shape, value, value.dtype)


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x)); where exp overflows the quotient is 0, as it should be."""
    result: Array = np.reciprocal(1 + np.exp(-x))
    return result


def _erf(x: Array) -> Array:
    x = np.clip(x, np.float32(-4), np.float32(4))
    square = x * x
    result: Array = x * _polynomial(_ERF_OVER, square) / _polynomial(_ERF_UNDER, square)
    return result


def _polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    total = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        total *= x
        total += np.float32(coefficient)
    return total


def _in_blocks(function: Callable[[Array], Array], x: Array) -> Array:
    flat = np.ascontiguousarray(x).reshape(-1)
    result: Array = np.empty_like(flat)
    for start in range(0, flat.size, _BLOCK):
        result[start : start + _BLOCK] = function(flat[start : start + _BLOCK])
    result.shape = x.shape
    return result
