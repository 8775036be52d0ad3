"""Activation functions with parameters, as layers of networks for images use them."""

from __future__ import annotations

import numpy as np

from ..immediate import Array
from .registry import Call, Result, operation


@operation("relu6")
def _relu6(call: Call) -> Result:
    return np.clip(call.array("x"), np.float32(0), np.float32(6))


@operation("clamped_relu")
def _clamped_relu(call: Call) -> Result:
    x = call.array("x")
    return np.minimum(call.real("beta", 1), np.where(x >= 0, x, call.real("alpha", 1) * x))


@operation("thresholded_relu")
def _thresholded_relu(call: Call) -> Result:
    x = call.array("x")
    return np.where(x >= call.real("alpha", 1), x, np.float32(0))


@operation("threshold")
def _threshold(call: Call) -> Result:
    return np.maximum(call.array("x"), call.real("alpha", 0))


@operation("linear_activation")
def _linear_activation(call: Call) -> Result:
    return call.array("x") * call.real("alpha", 1) + call.real("beta", 0)


@operation("sigmoid_hard")
def _sigmoid_hard(call: Call) -> Result:
    line = call.array("x") * call.real("alpha", 0.2) + call.real("beta", 0.5)
    return np.clip(line, np.float32(0), np.float32(1))


@operation("scaled_tanh")
def _scaled_tanh(call: Call) -> Result:
    return call.real("alpha", 1) * np.tanh(call.array("x") * call.real("beta", 1))


@operation("softsign")
def _softsign(call: Call) -> Result:
    x = call.array("x")
    return x / (1 + np.abs(x))


@operation("elu")
def _elu(call: Call) -> Result:
    x = call.array("x")
    return np.where(x > 0, x, call.real("alpha", 1) * np.expm1(np.minimum(x, np.float32(0))))


@operation("prelu")
def _prelu(call: Call) -> Result:
    x = call.array("x")
    return np.where(x >= 0, x, x * _by_channel(call, "alpha", x))


@operation("softplus_parametric")
def _softplus_parametric(call: Call) -> Result:
    x = call.array("x")
    return _by_channel(call, "alpha", x) * np.logaddexp(x * _by_channel(call, "beta", x), np.float32(0))


def _by_channel(call: Call, name: str, x: Array) -> Array:
    """Return a parameter for each channel, to be broadcast over [N, C, ...]."""
    values = call.array(name).reshape(-1)
    if x.ndim < 2 or values.size not in (1, x.shape[1]):
        raise ValueError(f"{name} has {values.size} values for {list(x.shape)}")
    return values.reshape(-1, *(1,) * (x.ndim - 2))
