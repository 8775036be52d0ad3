"""Eight-bit values: ``value = scale * (stored - zero_point)``, per tensor or along one axis."""

from __future__ import annotations

import numpy as np

from ..immediate import Array
from .registry import Call, Result, axis_of, operation

_BOUNDS = {"int8": (-128, 127), "uint8": (0, 255)}


@operation("quantize")
def _quantize(call: Call) -> Result:
    x = call.array("input")
    dtype = call.text("output_dtype", "")
    if dtype not in _BOUNDS or dtype != call.out.dtype:
        raise ValueError(f"quantises to {dtype!r:.40}, declared as {call.out}")
    scaled = np.rint(x / _along(call, "scale", x)) + _along(call, "zero_point", x)
    return np.clip(scaled, *_BOUNDS[dtype]).astype(dtype)


@operation("dequantize")
def _dequantize(call: Call) -> Result:
    return _restored(call, "input")


@operation("constexpr_affine_dequantize")
def _constexpr_affine_dequantize(call: Call) -> Result:
    return _restored(call, "quantized_data")


@operation("constexpr_blockwise_shift_scale")
def _constexpr_blockwise_shift_scale(call: Call) -> Result:
    data, scale = call.array("data"), call.array("scale")
    offset = call.arguments.get("offset")
    shift = np.zeros((), np.float32) if offset is None else _spread(np.asarray(offset), data)
    return (data.astype(np.float32) - shift) * _spread(scale, data)


def _restored(call: Call, name: str) -> Array:
    data = call.array(name)
    shifted = data.astype(np.float32) - _along(call, "zero_point", data)
    result: Array = shifted * _along(call, "scale", data)
    return result


def _along(call: Call, name: str, data: Array) -> Array:
    """Return a scale or zero point, shaped to broadcast along the call's axis; 0 where there is none."""
    value = np.asarray(call.arguments.get(name, 0), np.float32)
    if value.ndim == 0:
        return value
    shape = [1] * data.ndim
    shape[axis_of(call.number("axis", 0), data.ndim)] = value.size
    return value.reshape(shape)


def _spread(value: Array, data: Array) -> Array:
    """Repeat each value over its block of ``data``."""
    if value.ndim != data.ndim or any(n % m for n, m in zip(data.shape, value.shape, strict=True)):
        raise ValueError(f"blocks of {list(value.shape)} in {list(data.shape)}")
    for axis, (n, m) in enumerate(zip(data.shape, value.shape, strict=True)):
        value = np.repeat(value, n // m, axis)
    return value.astype(np.float32)
