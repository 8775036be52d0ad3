"""Sums, means and what is built of them: products with a row of equal numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import fx

from ...aten import base_name
from ...spectral.graph import arguments
from ..editor import Editor, shape_of
from .values import Rule, scalar

aten = torch.ops.aten


def _reduce(editor: Editor, node: fx.Node) -> fx.Node | None:
    """A sum or mean is a product with a row of equal numbers; over a whole map it is a pooling."""
    given = arguments(node)
    source, dims = given[0], given[1] if len(given) > 1 and not isinstance(given[1], torch.dtype) else None
    value, shape = source.meta["val"], shape_of(source)
    if not value.is_floating_point() or node.meta["val"].dtype != value.dtype or not shape:
        return None
    dims = sorted(d % len(shape) for d in (dims or range(len(shape))))
    mean = base_name(node.target) == "mean"
    if len(shape) == 4 and dims == [2, 3]:
        pooled = editor.call(node, aten.mean.dim, source, [2, 3], True)
        if not mean:
            count = scalar(editor, float(shape[2] * shape[3]), pooled)
            pooled = editor.call(node, aten.mul.Tensor, pooled, count)
        return editor.reshape(node, pooled, shape_of(node))
    kept = [d for d in range(len(shape)) if d not in dims]
    length = math.prod(shape[d] for d in dims)
    if len(shape) == 4 and dims == [1]:
        weight = torch.full((1, length, 1, 1), 1 / length if mean else 1.0, dtype=value.dtype)
        total = editor.call(node, aten.conv2d.default, source, editor.store(weight))
        return editor.reshape(node, total, shape_of(node))
    last = editor.permute(node, source, [*kept, *dims])
    rows = editor.reshape(node, last, [math.prod(shape[d] for d in kept), length])
    row = torch.full((1, length), 1 / length if mean else 1.0, dtype=value.dtype)
    total = editor.call(node, aten.linear.default, rows, editor.store(row))
    return editor.reshape(node, total, shape_of(node))


def _layer_norm(editor: Editor, node: fx.Node) -> fx.Node | None:
    """Mean and variance as products with a row of equal numbers."""
    source, normalised, weight, bias, epsilon = arguments(node)[:5]
    length = math.prod(normalised)
    rows = editor.reshape(node, source, [math.prod(shape_of(source)) // length, length])
    result = _normalised(editor, node, rows, epsilon)
    result = editor.reshape(node, result, shape_of(node))
    if weight is not None:
        result = editor.call(node, aten.mul.Tensor, result, weight)
    return result if bias is None else editor.call(node, aten.add.Tensor, result, bias)


def _group_norm(editor: Editor, node: fx.Node) -> fx.Node | None:
    """As :func:`_layer_norm`, for all values of a group of channels."""
    source, groups, weight, bias, epsilon = arguments(node)[:5]
    shape = shape_of(source)
    count = shape[0] * groups
    rows = editor.reshape(node, source, [count, math.prod(shape) // count])
    result = editor.reshape(node, _normalised(editor, node, rows, epsilon), shape)
    channels = [shape[1], *([1] * (len(shape) - 2))]
    if weight is not None:
        result = editor.call(node, aten.mul.Tensor, result, _shaped(editor, node, weight, channels))
    if bias is not None:
        result = editor.call(node, aten.add.Tensor, result, _shaped(editor, node, bias, channels))
    return result


def _normalised(editor: Editor, like: fx.Node, rows: fx.Node, epsilon: float) -> fx.Node:
    """Rows [count, length] less their mean, over the root of their variance plus ``epsilon``."""
    length, dtype = shape_of(rows)[1], rows.meta["val"].dtype
    row = editor.store(torch.full((1, length), 1 / length, dtype=dtype))
    centred = editor.call(like, aten.sub.Tensor, rows, editor.call(like, aten.linear.default, rows, row))
    squares = editor.call(like, aten.mul.Tensor, centred, centred)
    variance = editor.call(like, aten.linear.default, squares, row)
    guarded = editor.call(like, aten.add.Tensor, variance, scalar(editor, epsilon, rows))
    root = editor.call(like, aten.sqrt.default, guarded)
    return editor.call(like, aten.div.Tensor, centred, root)


def _shaped(editor: Editor, like: fx.Node, weight: fx.Node, shape: Sequence[int]) -> fx.Node:
    value = editor.stored(weight)
    return editor.reshape(like, weight, shape) if value is None else editor.store(value.reshape(shape))


RULES: dict[str, Rule] = {
    **dict.fromkeys(("sum", "mean"), _reduce),
    "group_norm": _group_norm,
    "layer_norm": _layer_norm,
}
