"""Operations along one axis that depend on the order of its elements."""

from __future__ import annotations

import numpy as np

from ..immediate import Array
from .registry import Call, Result, axis_of, operation


@operation("reduce_argmax")
def _argmax(call: Call) -> Result:
    x = call.array("x")
    return _place(call, np.argmax(x, axis_of(call.number("axis", -1), x.ndim)))


@operation("reduce_argmin")
def _argmin(call: Call) -> Result:
    x = call.array("x")
    return _place(call, np.argmin(x, axis_of(call.number("axis", -1), x.ndim)))


@operation("argsort")
def _argsort(call: Call) -> Result:
    x = call.array("x")
    axis = axis_of(call.number("axis", -1), x.ndim)
    return _order(x, axis, call.flag("ascending", False)).astype(call.out.dtype)


@operation("topk")
def _topk(call: Call) -> Result:
    x = call.array("x")
    axis, k = axis_of(call.number("axis", -1), x.ndim), call.number("k", 1)
    count = x.shape[axis] if k == -1 else k
    if not 0 < count <= x.shape[axis]:
        raise ValueError(f"{count} of {x.shape[axis]} elements")
    order = np.take(_order(x, axis, call.flag("ascending", False)), np.arange(count), axis)
    values = np.take_along_axis(x, order, axis)
    if not call.flag("return_indices", True):
        return values
    return values, order.astype(call.operation.outputs[-1][1].dtype)


@operation("cumsum")
def _cumsum(call: Call) -> Result:
    x = call.array("x")
    axis = axis_of(call.number("axis", 0), x.ndim)
    terms = np.moveaxis(np.flip(x, axis) if call.flag("reverse", False) else x, axis, 0)
    if call.flag("exclusive", False):
        terms = np.concatenate([np.zeros_like(terms[:1]), terms[:-1]])
    if call.narrow:
        sums = [terms[0]]
        for term in terms[1:]:
            sums.append((sums[-1] + term).astype(np.float16).astype(np.float32))
        total = np.stack(sums)
    else:
        total = np.cumsum(terms, 0, dtype=x.dtype)
    total = np.moveaxis(total, 0, axis)
    return np.flip(total, axis).copy() if call.flag("reverse", False) else total


@operation("one_hot")
def _one_hot(call: Call) -> Result:
    indices, size = call.array("indices"), call.number("one_hot_vector_size", 0)
    axis = axis_of(call.number("axis", -1), indices.ndim + 1)
    call.expect((*indices.shape[:axis], size, *indices.shape[axis:]))
    on, off = (
        np.asarray(call.arguments.get(n, d)).reshape(()) for n, d in (("on_value", 1), ("off_value", 0))
    )
    hot = np.expand_dims(indices, axis) == np.arange(size).reshape(-1, *(1,) * (indices.ndim - axis))
    return np.where(hot, on, off).astype(call.out.dtype)


def _order(x: Array, axis: int, ascending: bool) -> Array:
    """Return indices that sort; among equals the first comes first."""
    if ascending:
        return np.argsort(x, axis, kind="stable")
    turned = np.flip(np.argsort(np.flip(x, axis), axis, kind="stable"), axis)
    order: Array = x.shape[axis] - 1 - turned
    return order


def _place(call: Call, places: Array) -> Array:
    if call.flag("keep_dims", False):
        places = np.expand_dims(places, axis_of(call.number("axis", -1), call.array("x").ndim))
    return places.astype(call.out.dtype)
