"""Sums and means over axes, and what is built on them."""

from __future__ import annotations

import numpy as np

from ..immediate import Array
from .registry import Call, Result, axis_of, operation


@operation("reduce_sum")
def _reduce_sum(call: Call) -> Result:
    return _total(call)


@operation("reduce_mean")
def _reduce_mean(call: Call) -> Result:
    x = call.array("x")
    count = np.prod([x.shape[axis] for axis in _axes(call, x)])
    return _total(call) / np.float32(count)


@operation("reduce_max")
def _reduce_max(call: Call) -> Result:
    x = call.array("x")
    return x.max(axis=_axes(call, x), keepdims=call.flag("keep_dims", False))


@operation("reduce_min")
def _reduce_min(call: Call) -> Result:
    x = call.array("x")
    return x.min(axis=_axes(call, x), keepdims=call.flag("keep_dims", False))


@operation("reduce_prod")
def _reduce_prod(call: Call) -> Result:
    x = call.array("x")
    return np.asarray(x.prod(axis=_axes(call, x), keepdims=call.flag("keep_dims", False), dtype=x.dtype))


@operation("reduce_l1_norm")
def _reduce_l1_norm(call: Call) -> Result:
    return _total(call, np.abs(call.array("x")))


@operation("reduce_l2_norm")
def _reduce_l2_norm(call: Call) -> Result:
    return np.sqrt(_total(call, np.square(call.array("x"))))


@operation("reduce_sum_square")
def _reduce_sum_square(call: Call) -> Result:
    return _total(call, np.square(call.array("x")))


@operation("reduce_log_sum_exp")
def _reduce_log_sum_exp(call: Call) -> Result:
    x = call.array("x")
    largest = x.max(axis=_axes(call, x), keepdims=True)
    total = np.log(_total(call, np.exp(x - largest)))
    return total + largest.reshape(total.shape)


@operation("softmax")
def _softmax(call: Call) -> Result:
    x = call.array("x")
    axis = axis_of(call.number("axis", -1), x.ndim)
    powers = np.exp(x - x.max(axis=axis, keepdims=True))
    powers /= powers.sum(axis=axis, keepdims=True)
    return powers


@operation("layer_norm")
def _layer_norm(call: Call) -> Result:
    x = call.array("x")
    axes = _axes(call, x)
    centred = x - x.mean(axis=axes, keepdims=True)
    variance = np.square(centred).mean(axis=axes, keepdims=True)
    y = centred / np.sqrt(variance + call.real("epsilon", 1e-5))
    shape = [size if axis in axes else 1 for axis, size in enumerate(x.shape)]
    for name, apply in (("gamma", np.multiply), ("beta", np.add)):
        factor = call.arguments.get(name)
        if factor is not None:
            y = apply(y, np.asarray(factor).reshape(shape))
    return y


@operation("instance_norm")
def _instance_norm(call: Call) -> Result:
    x = call.array("x")
    axes = tuple(range(2, x.ndim))
    centred = x - x.mean(axis=axes, keepdims=True)
    variance = np.square(centred).mean(axis=axes, keepdims=True)
    y = centred / np.sqrt(variance + call.real("epsilon", 1e-5))
    for name, apply in (("gamma", np.multiply), ("beta", np.add)):
        if call.arguments.get(name) is not None:
            y = apply(y, call.array(name).reshape(1, -1, *(1,) * len(axes)))
    return y


@operation("batch_norm")
def _batch_norm(call: Call) -> Result:
    # With the mean and variance of the program: a factor and a summand for each channel. coremltools writes a
    # product followed by a sum this way.
    x = call.array("x")
    shape = (1, -1, *[1] * (x.ndim - 2))

    def channels(name: str) -> Array:
        return call.array(name).reshape(shape)

    y = (x - channels("mean")) / np.sqrt(channels("variance") + call.real("epsilon", 1e-5))
    if call.arguments.get("gamma") is not None:
        y = y * channels("gamma")
    return y + channels("beta") if call.arguments.get("beta") is not None else y


def _axes(call: Call, x: Array) -> tuple[int, ...]:
    axes = call.numbers("axes", None)
    return tuple(range(x.ndim)) if axes is None else tuple(axis_of(axis, x.ndim) for axis in axes)


def _total(call: Call, terms: Array | None = None) -> Array:
    """Return the sum of ``terms`` (by default ``x``) over the axes, in float16 after every addition if the
    call asks for it."""
    x = call.array("x") if terms is None else terms
    axes, keep = _axes(call, x), call.flag("keep_dims", False)
    if not call.narrow:
        return np.asarray(x.sum(axis=axes, keepdims=keep, dtype=x.dtype))
    last = np.moveaxis(x, axes, range(len(axes))).reshape(
        -1, *(n for a, n in enumerate(x.shape) if a not in axes)
    )
    total = np.zeros(last.shape[1:], np.float32)
    for term in last:
        total = (total + term).astype(np.float16).astype(np.float32)
    return np.expand_dims(total, axes) if keep else total
