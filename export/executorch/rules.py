"""One small rule per operator that XNNPACK does not take: what is written in its place."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from ..aten import COPIES, RESHAPES, base_name
from ..spectral.graph import arguments
from .editor import Editor, shape_of

aten = torch.ops.aten

Rule = Callable[[Editor, fx.Node], "fx.Node | None"]

BROADCASTING = frozenset(["add", "sub", "mul", "div", "maximum", "minimum"])
"""What reads a smaller tensor as if it were expanded."""


def _copy(editor: Editor, node: fx.Node) -> fx.Node | None:
    source = _source(node)
    same = shape_of(source) == shape_of(node) and source.meta["val"].dtype == node.meta["val"].dtype
    return source if same else None


def _reshape(editor: Editor, node: fx.Node) -> fx.Node:
    return editor.reshape(node, _source(node), shape_of(node))


def _select(editor: Editor, node: fx.Node) -> fx.Node:
    source, dim, index = arguments(node)
    dim, length = dim % len(shape_of(source)), shape_of(source)[dim]
    part = editor.cut(node, source, dim, index % length, 1)
    return editor.reshape(node, part, shape_of(node))


def _narrow(editor: Editor, node: fx.Node) -> fx.Node:
    source, dim, start, length = arguments(node)[:4]
    dim = dim % len(shape_of(source))
    return editor.cut(node, source, dim, start % shape_of(source)[dim] if length else 0, length)


def _slice(editor: Editor, node: fx.Node) -> fx.Node | None:
    """Every n-th value is the first of every group of n, where groups are whole."""
    source, dim, start, _, step = arguments(node)[:5]
    shape = shape_of(source)
    dim, begin = dim % len(shape), start or 0
    begin = begin + shape[dim] if begin < 0 else begin
    if step == 1 or shape[dim] % step or begin >= step:
        return None
    groups = [*shape[:dim], shape[dim] // step, step, *shape[dim + 1 :]]
    if len(groups) > LARGEST_RANK:
        return None
    part = editor.cut(node, editor.reshape(node, source, groups), dim + 1, begin, 1)
    return editor.reshape(node, part, shape_of(node))


def _split(editor: Editor, node: fx.Node) -> None:
    """Cut each part where it is taken; every way to split says the same by what its parts are."""
    source, name = _source(node), base_name(node.target)
    given = arguments(node)
    dim = given[1] if name == "unbind" else given[2] if len(given) > 2 else 0
    dim = (dim or 0) % len(shape_of(source))
    values: Any = node.meta["val"]
    sides = [1 if name == "unbind" else int(value.shape[dim]) for value in values]
    starts = [sum(sides[:index]) for index in range(len(sides))]
    for taken in list(node.users):
        index: Any = taken.args[1]
        if taken.users:
            part = editor.cut(taken, source, dim, starts[index], sides[index])
            editor.replace(taken, editor.reshape(taken, part, shape_of(taken)))


def _stack(editor: Editor, node: fx.Node) -> fx.Node:
    parts, dim = arguments(node)[:2]
    dim = dim % len(shape_of(node))
    flat = []
    for part in parts:
        shape = shape_of(part)
        flat.append(editor.reshape(node, part, [*shape[:dim], 1, *shape[dim:]]))
    return editor.call(node, aten.cat.default, flat, dim)


def _cat(editor: Editor, node: fx.Node) -> fx.Node | None:
    """XNNPACK refuses to join a map with itself: the second is multiplied by one."""
    parts, dim = (*arguments(node), 0)[:2]
    if len(set(parts)) == len(parts) or not node.meta["val"].is_floating_point():
        return None
    different: list[fx.Node] = []
    for part in parts:
        again = part in different
        different.append(
            editor.call(node, aten.mul.Tensor, part, _scalar(editor, 1.0, part)) if again else part
        )
    return editor.call(node, aten.cat.default, different, dim)


def _filled(editor: Editor, node: fx.Node) -> fx.Node | None:
    """A map of one number is a product of a stored column and a stored row."""
    name, given = base_name(node.target), [*node.args[1:], *node.kwargs.values()]
    value = 0.0 if "zeros" in name else 1.0 if "ones" in name else given[1 if name == "new_full" else 0]
    shape, dtype = shape_of(node), node.meta["val"].dtype
    if not node.meta["val"].is_floating_point() or len(shape) < 2 or not isinstance(value, int | float):
        return None
    column = editor.store(torch.full([*shape[:2], *([1] * (len(shape) - 2))], value, dtype=dtype))
    row = editor.store(torch.ones([1, 1, *shape[2:]], dtype=dtype))
    return editor.call(node, aten.mul.Tensor, column, row)


def _expand(editor: Editor, node: fx.Node) -> fx.Node | None:
    """A product with ones of the shape that is missing; readers that broadcast by themselves need none."""
    source = _source(node)
    padded = editor.reshape(
        node, source, [1] * (len(shape_of(node)) - len(shape_of(source))) + shape_of(source)
    )
    for reader in list(node.users):
        others = [other for other in reader.all_input_nodes if other is not node]
        broadcasts = base_name(reader.target) in BROADCASTING and len(others) == 1
        if broadcasts and shape_of(others[0]) == shape_of(reader):
            reader.replace_input_with(node, padded)
    return _expanded(editor, node, padded, shape_of(node)) if node.users else None


def _expanded(editor: Editor, like: fx.Node, source: fx.Node, shape: Sequence[int]) -> fx.Node:
    own = shape_of(source)
    if own == list(shape):
        return source
    missing = [wanted if side != wanted else 1 for side, wanted in zip(own, shape, strict=True)]
    ones = editor.store(torch.ones(missing, dtype=source.meta["val"].dtype))
    return editor.call(like, aten.mul.Tensor, source, ones)


def _matmul(editor: Editor, node: fx.Node) -> fx.Node | None:
    left, right = (_as_node(value) for value in arguments(node)[:2])
    a, b = shape_of(left), shape_of(right)
    if len(a) < 2 or len(b) < 2 or not left.meta["val"].is_floating_point():
        return None
    matrix = editor.stored(right)
    if matrix is not None and len(b) == 2:
        return editor.call(node, aten.linear.default, left, editor.store(matrix.t().contiguous()))
    matrix = editor.stored(left)
    if matrix is not None and len(a) == 2:
        swapped = [*range(len(b) - 2), len(b) - 1, len(b) - 2]
        product = editor.call(node, aten.linear.default, editor.permute(node, right, swapped), left)
        return editor.permute(node, product, swapped)
    return _products(editor, node, left, right)


def _products(editor: Editor, node: fx.Node, left: fx.Node, right: fx.Node) -> fx.Node:
    """One product per pair of matrices, all axes before them as one."""
    shape = shape_of(node)
    lead, count = shape[:-2], math.prod(shape[:-2])
    flat = []
    for operand in (left, right):
        own = shape_of(operand)
        own = [1] * (len(shape) - len(own)) + own
        whole = _expanded(editor, node, editor.reshape(node, operand, own), [*lead, *own[-2:]])
        flat.append(editor.reshape(node, whole, [count, *own[-2:]]))
    return editor.reshape(node, editor.call(node, aten.bmm.default, *flat), shape)


def _linear(editor: Editor, node: fx.Node) -> fx.Node | None:
    """With a matrix that the network makes: a product of two, as only stored ones are packed."""
    x, weight, bias = (*arguments(node), None)[:3]
    if editor.stored(weight) is not None:
        return None
    turned = editor.permute(node, weight, [1, 0])
    rows = math.prod(shape_of(x)[:-1])
    flat = editor.reshape(node, x, [1, rows, shape_of(x)[-1]])
    product = editor.call(node, aten.bmm.default, flat, editor.reshape(node, turned, [1, *shape_of(turned)]))
    product = editor.reshape(node, product, shape_of(node))
    return product if bias is None else editor.call(node, aten.add.Tensor, product, bias)


def _shuffle(editor: Editor, node: fx.Node) -> fx.Node:
    """``pixel_shuffle`` and ``pixel_unshuffle`` as reshape, permute, reshape."""
    source, factor = arguments(node)[:2]
    *lead, c, h, w = shape_of(source)
    count = math.prod(lead)
    if base_name(node.target) == "pixel_shuffle":
        cut, order = [count, c // factor**2, factor, factor, h, w], [0, 1, 4, 2, 5, 3]
    else:
        cut, order = [count, c, h // factor, factor, w // factor, factor], [0, 1, 3, 5, 2, 4]
    moved = editor.permute(node, editor.reshape(node, source, cut), order)
    return editor.reshape(node, moved, shape_of(node))


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
            count = _scalar(editor, float(shape[2] * shape[3]), pooled)
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
    guarded = editor.call(like, aten.add.Tensor, variance, _scalar(editor, epsilon, rows))
    root = editor.call(like, aten.sqrt.default, guarded)
    return editor.call(like, aten.div.Tensor, centred, root)


def _shaped(editor: Editor, like: fx.Node, weight: fx.Node, shape: Sequence[int]) -> fx.Node:
    value = editor.stored(weight)
    return editor.reshape(like, weight, shape) if value is None else editor.store(value.reshape(shape))


def _repeat(editor: Editor, node: fx.Node) -> fx.Node | None:
    """Copies behind each other, axis by axis."""
    source, times = arguments(node)[:2]
    result = editor.reshape(node, source, [1] * (len(times) - len(shape_of(source))) + shape_of(source))
    if not all(1 <= count <= LARGEST_REPEAT for count in times):
        return None
    for axis, count in enumerate(times):
        if count > 1:
            result = editor.call(node, aten.cat.default, [result] * count, axis)
    return result


def _softmax(editor: Editor, node: fx.Node) -> fx.Node | None:
    source, dim = arguments(node)[:2]
    rank = len(shape_of(source))
    dim = dim % rank
    if dim == rank - 1 or node.meta["val"].dtype != source.meta["val"].dtype:
        return None
    swapped = list(range(rank))
    swapped[dim], swapped[-1] = swapped[-1], swapped[dim]
    result = editor.call(node, aten.softmax.int, editor.permute(node, source, swapped), -1)
    return editor.permute(node, result, swapped)


def _transpose(editor: Editor, node: fx.Node) -> fx.Node:
    source = _source(node)
    order = list(range(len(shape_of(source))))
    if base_name(node.target) == "t":
        order.reverse()
    else:
        first, second = (d % len(order) for d in arguments(node)[1:3])
        order[first], order[second] = second, first
    return editor.permute(node, source, order)


def _reversed(editor: Editor, node: fx.Node) -> fx.Node | None:
    """``rsub``: the second minus the first."""
    source, other, alpha = (*arguments(node), 1)[:3]
    if alpha != 1 or not source.meta["val"].is_floating_point():
        return None
    return editor.call(node, aten.sub.Tensor, _scalar(editor, other, source), source)


def _log1p(editor: Editor, node: fx.Node) -> fx.Node | None:
    source = _source(node)
    if not source.meta["val"].is_floating_point():
        return None
    more = editor.call(node, aten.add.Tensor, source, _scalar(editor, 1.0, source))
    return editor.call(node, aten.log.default, more)


def _square(editor: Editor, node: fx.Node) -> fx.Node | None:
    source = _source(node)
    if not source.meta["val"].is_floating_point():
        return None
    return editor.call(node, aten.mul.Tensor, source, source)


def _power(editor: Editor, node: fx.Node) -> fx.Node | None:
    source, exponent = arguments(node)[:2]
    if not source.meta["val"].is_floating_point():
        return None
    if exponent == 2:
        return editor.call(node, aten.mul.Tensor, source, source)
    if exponent in (0.5, -0.5):
        return editor.call(node, aten.sqrt.default if exponent > 0 else aten.rsqrt.default, source)
    return None


def _reciprocal(editor: Editor, node: fx.Node) -> fx.Node | None:
    source = _source(node)
    if not source.meta["val"].is_floating_point():
        return None
    return editor.call(node, aten.div.Tensor, _scalar(editor, 1.0, source), source)


def _scalar(editor: Editor, value: Any, like: fx.Node) -> fx.Node:
    """Store a number as a tensor that is read beside ``like``: of one axis, if that has any."""
    if isinstance(value, fx.Node):
        return value
    return editor.store(torch.full([1] * min(1, len(shape_of(like))), value, dtype=like.meta["val"].dtype))


def _with_scalar(editor: Editor, node: fx.Node) -> fx.Node | None:
    """A number beside a tensor becomes a stored tensor; otherwise one is made at every run."""
    left, right, *rest = arguments(node)
    value: Tensor = node.meta["val"]
    if isinstance(right, fx.Node) or not isinstance(left, fx.Node) or any(r not in (1, None) for r in rest):
        return None
    if not value.is_floating_point() or left.meta["val"].dtype != value.dtype:
        return None
    return editor.call(node, getattr(aten, base_name(node.target)).Tensor, left, _scalar(editor, right, left))


def _source(node: fx.Node) -> fx.Node:
    return _as_node(node.args[0])


def _as_node(value: Any) -> fx.Node:
    assert isinstance(value, fx.Node)
    return value


LARGEST_RANK = 6
"""Of a tensor in XNNPACK."""
LARGEST_REPEAT = 5
"""Copies that are joined in one operator."""

RULES: dict[str, Rule] = {
    **dict.fromkeys(COPIES, _copy),
    **dict.fromkeys((*RESHAPES, "unflatten"), _reshape),
    **dict.fromkeys(("add", "sub", "mul", "div"), _with_scalar),
    **dict.fromkeys(("sum", "mean"), _reduce),
    **dict.fromkeys(("pixel_shuffle", "pixel_unshuffle"), _shuffle),
    **dict.fromkeys(("t", "transpose"), _transpose),
    **dict.fromkeys(("chunk", "split", "split_with_sizes", "unbind"), _split),
    **dict.fromkeys(("full_like", "new_full", "new_ones", "new_zeros", "ones_like", "zeros_like"), _filled),
    "cat": _cat,
    "expand": _expand,
    "group_norm": _group_norm,
    "layer_norm": _layer_norm,
    "linear": _linear,
    "log1p": _log1p,
    "matmul": _matmul,
    "narrow": _narrow,
    "pow": _power,
    "reciprocal": _reciprocal,
    "repeat": _repeat,
    "rsub": _reversed,
    "select": _select,
    "slice": _slice,
    "softmax": _softmax,
    "square": _square,
    "stack": _stack,
}
"""Name of an operator -> its rule, which returns ``None`` to leave the node as it is."""
