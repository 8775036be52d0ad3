"""Values that are there more than once: expansions, repetitions, maps of one number, and what is joined."""

from __future__ import annotations

import torch
from torch import fx

from ...aten import base_name
from ...spectral.graph import arguments
from ..editor import Editor, shape_of
from .values import Rule, expanded, joined, source_of

aten = torch.ops.aten

BROADCASTING = frozenset(["add", "sub", "mul", "div", "maximum", "minimum"])
"""What reads a smaller tensor as if it were expanded."""
LARGEST_REPEAT = 5
"""Copies that are joined in one operator."""
LARGEST_PAD = 16
"""Rows or columns that are laid beside a map one by one."""
_EDGES = ("reflect", "replicate", "circular")
_FILLS = {"new_ones": 1.0, "new_zeros": 0.0, "ones_like": 1.0, "zeros_like": 0.0}


def _stack(editor: Editor, node: fx.Node) -> fx.Node:
    parts, dim = arguments(node)[:2]
    dim = dim % len(shape_of(node))
    flat = []
    for part in parts:
        shape = shape_of(part)
        flat.append(editor.reshape(node, part, [*shape[:dim], 1, *shape[dim:]]))
    return joined(editor, node, flat, dim)


def _cat(editor: Editor, node: fx.Node) -> fx.Node | None:
    parts, dim = arguments(node)[:2]
    repeated = len(set(parts)) < len(parts) and node.meta["val"].is_floating_point()
    return joined(editor, node, parts, dim) if repeated else None


def _repeat(editor: Editor, node: fx.Node) -> fx.Node | None:
    """Copies behind each other, axis by axis."""
    source, times = arguments(node)[:2]
    result = editor.reshape(node, source, [1] * (len(times) - len(shape_of(source))) + shape_of(source))
    if not all(1 <= count <= LARGEST_REPEAT for count in times):
        return None
    for axis, count in enumerate(times):
        if count > 1:
            result = joined(editor, node, [result] * count, axis)
    return result


def _pad(editor: Editor, node: fx.Node) -> fx.Node | None:
    """Reflected, repeated or wrapped edges: slices beside the map, axis by axis from the last."""
    source, widths, mode = arguments(node)[:3]
    if mode not in _EDGES or any(not 0 <= width <= LARGEST_PAD for width in widths):
        return None
    result: fx.Node = source
    for axis, before, after in zip(range(-1, -len(widths), -1), widths[::2], widths[1::2], strict=False):
        dim, length = axis % len(shape_of(result)), shape_of(result)[axis]
        if mode == "reflect":
            left = [editor.cut(node, result, dim, place, 1) for place in range(before, 0, -1)]
            right = [editor.cut(node, result, dim, length - 2 - place, 1) for place in range(after)]
        elif mode == "circular":
            left = [editor.cut(node, result, dim, length - before, before)] if before else []
            right = [editor.cut(node, result, dim, 0, after)] if after else []
        else:
            left, right = (
                [_stretched(editor, node, editor.cut(node, result, dim, place, 1), dim, width)]
                if width
                else []
                for place, width in ((0, before), (length - 1, after))
            )
        if left or right:
            result = joined(editor, node, [*left, result, *right], dim)
    return result


def _stretched(editor: Editor, like: fx.Node, edge: fx.Node, dim: int, width: int) -> fx.Node:
    shape = shape_of(edge)
    return expanded(editor, like, edge, [*shape[:dim], width, *shape[dim + 1 :]])


def _slice_scatter(editor: Editor, node: fx.Node) -> fx.Node | None:
    """What is written into a part of a map stands between what is before and behind it."""
    source, part, dim, start, _, step = arguments(node)[:6]
    dim, length = dim % len(shape_of(source)), shape_of(source)[dim]
    begin = start or 0
    begin = begin + length if begin < 0 else begin
    count = shape_of(part)[dim]
    if step != 1 or part.meta["val"].dtype != source.meta["val"].dtype or begin + count > length:
        return None
    before = [editor.cut(node, source, dim, 0, begin)] if begin else []
    after = length - begin - count
    behind = [editor.cut(node, source, dim, begin + count, after)] if after else []
    return joined(editor, node, [*before, part, *behind], dim) if before or behind else part


def _filled(editor: Editor, node: fx.Node) -> fx.Node | None:
    """A map of one number is a product of a stored column and a stored row, which are small."""
    name, given = base_name(node.target), arguments(node)
    value = _FILLS[name] if name in _FILLS else given[2 if name == "new_full" else 1]
    shape, dtype = shape_of(node), node.meta["val"].dtype
    if not node.meta["val"].is_floating_point() or not isinstance(value, int | float):
        return None
    column = editor.store(torch.full([*shape[:2], *([1] * len(shape[2:]))], value, dtype=dtype))
    row = editor.store(torch.ones([*([1] * len(shape[:2])), *shape[2:]], dtype=dtype))
    return editor.call(node, aten.mul.Tensor, column, row)


def _expand(editor: Editor, node: fx.Node) -> fx.Node | None:
    """A product with ones of the shape that is missing; readers that broadcast by themselves need none."""
    source = source_of(node)
    padded = editor.reshape(
        node, source, [1] * (len(shape_of(node)) - len(shape_of(source))) + shape_of(source)
    )
    for reader in list(node.users):
        others = [other for other in reader.all_input_nodes if other is not node]
        broadcasts = base_name(reader.target) in BROADCASTING and len(others) == 1
        if broadcasts and shape_of(others[0]) == shape_of(reader):
            reader.replace_input_with(node, padded)
    return expanded(editor, node, padded, shape_of(node)) if node.users else None


RULES: dict[str, Rule] = {
    **dict.fromkeys(("full_like", "new_full", "new_ones", "new_zeros", "ones_like", "zeros_like"), _filled),
    "cat": _cat,
    "expand": _expand,
    "pad": _pad,
    "repeat": _repeat,
    "slice_scatter": _slice_scatter,
    "stack": _stack,
}
