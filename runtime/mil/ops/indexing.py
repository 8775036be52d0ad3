"""Operations that read or write at given places. Indices count from 0 and never from the end (iOS 17)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..immediate import Array
from .registry import Call, Result, axis_of, operation

_UPDATES: dict[str, Callable[[Array, Any, Array], None]] = {
    "add": lambda data, at, new: np.add.at(data, at, new),
    "sub": lambda data, at, new: np.subtract.at(data, at, new),
    "mul": lambda data, at, new: np.multiply.at(data, at, new),
    "div": lambda data, at, new: np.divide.at(data, at, new),
    "max": lambda data, at, new: np.maximum.at(data, at, new),
    "min": lambda data, at, new: np.minimum.at(data, at, new),
    "update": lambda data, at, new: data.__setitem__(at, new),
}


@operation("gather")
def _gather(call: Call) -> Result:
    x, indices = call.array("x"), call.array("indices")
    axis, batch = axis_of(call.number("axis", 0), x.ndim), call.number("batch_dims", 0)
    _check(indices, x.shape[axis])
    call.expect(x.shape[:axis] + indices.shape[batch:] + x.shape[axis + 1 :])
    if batch == 0:
        return np.take(x, indices, axis)
    if not 0 < batch <= min(axis, indices.ndim) or x.shape[:batch] != indices.shape[:batch]:
        raise ValueError(f"{batch} batch axes of {list(x.shape)} and {list(indices.shape)}")
    lead = indices.shape[:batch]
    flat_x = x.reshape(-1, *x.shape[batch:])
    flat_indices = indices.reshape(-1, *indices.shape[batch:])
    rows = [np.take(a, i, axis - batch) for a, i in zip(flat_x, flat_indices, strict=True)]
    return np.stack(rows).reshape(*lead, *rows[0].shape)


@operation("gather_nd")
def _gather_nd(call: Call) -> Result:
    x, indices = call.array("x"), call.array("indices")
    batch = call.number("batch_dims", 0)
    if not 0 <= batch < indices.ndim or x.shape[:batch] != indices.shape[:batch]:
        raise ValueError(f"{batch} batch axes of {list(x.shape)} and {list(indices.shape)}")
    depth = indices.shape[-1]
    for position in range(depth):
        _check(indices[..., position], x.shape[batch + position])
    call.expect(indices.shape[:-1] + x.shape[batch + depth :])
    flat_x = x.reshape(-1, *x.shape[batch:])
    flat_indices = indices.reshape(-1, *indices.shape[batch:])
    rows = [a[tuple(np.moveaxis(i, -1, 0))] for a, i in zip(flat_x, flat_indices, strict=True)]
    return np.stack(rows).reshape(call.out.shape)


@operation("gather_along_axis")
def _gather_along_axis(call: Call) -> Result:
    x, indices = call.array("x"), call.array("indices")
    axis = axis_of(call.number("axis", 0), x.ndim)
    _check(indices, x.shape[axis])
    return np.take_along_axis(x, indices.astype(np.int64), axis)


@operation("scatter")
def _scatter(call: Call) -> Result:
    data, indices = call.array("data").copy(), call.array("indices")
    axis = axis_of(call.number("axis", 0), data.ndim)
    _check(indices, data.shape[axis])
    _update(call)(data, (*(slice(None),) * axis, indices), call.array("updates"))
    return data


@operation("scatter_nd")
def _scatter_nd(call: Call) -> Result:
    data, indices = call.array("data").copy(), call.array("indices")
    for position in range(indices.shape[-1]):
        _check(indices[..., position], data.shape[position])
    _update(call)(data, tuple(np.moveaxis(indices, -1, 0)), call.array("updates"))
    return data


@operation("scatter_along_axis")
def _scatter_along_axis(call: Call) -> Result:
    data, indices, updates = call.array("data").copy(), call.array("indices"), call.array("updates")
    axis = axis_of(call.number("axis", 0), data.ndim)
    _check(indices, data.shape[axis])
    if indices.shape != updates.shape or indices.ndim != data.ndim:
        raise ValueError(f"updates {list(updates.shape)} at {list(indices.shape)} of {list(data.shape)}")
    at: list[Array] = list(np.indices(indices.shape))
    at[axis] = indices
    _update(call)(data, tuple(at), updates)
    return data


def _update(call: Call) -> Callable[[Array, Any, Array], None]:
    mode = call.text("mode", "add")
    if mode not in _UPDATES:
        raise ValueError(f"the mode {mode!r:.40} is unknown")
    return _UPDATES[mode]


def _check(indices: Array, size: int) -> None:
    if indices.size and not (int(indices.min()) >= 0 and int(indices.max()) < size):
        raise ValueError(f"an index outside 0 to {size - 1}")
