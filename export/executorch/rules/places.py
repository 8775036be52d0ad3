"""Values that only move: parts, reshapes and permutes in place of the many ways to say them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import fx

from ...aten import COPIES, RESHAPES, SHUFFLES, base_name
from ...spectral.graph import arguments
from ..editor import Editor, shape_of
from .values import LARGEST_RANK, Rule, source_of

aten = torch.ops.aten


def _copy(editor: Editor, node: fx.Node) -> fx.Node | None:
    source = source_of(node)
    same = shape_of(source) == shape_of(node) and source.meta["val"].dtype == node.meta["val"].dtype
    return source if same else None


def _reshape(editor: Editor, node: fx.Node) -> fx.Node:
    return editor.reshape(node, source_of(node), shape_of(node))


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


def _index_select(editor: Editor, node: fx.Node) -> fx.Node | None:
    """Stored places that are a grid, as transforms in two steps read them: slices of two axes, a permute."""
    source, dim, places = arguments(node)[:3]
    shape, index = shape_of(source), editor.stored(places)
    if index is None or not shape or len(shape) == LARGEST_RANK:
        return None
    dim = dim % len(shape)
    grid = _grid(index.flatten().tolist(), shape[dim])
    if grid is None:
        return None
    begin, (first, step), (second, jump) = grid
    width = max(step, jump)
    if min(step, jump) != 1 or shape[dim] % width:
        return None
    turned = step > jump  # the first axis of the grid has the longer way between its places
    rows, columns = (first, second) if turned else (second, first)
    if begin % width + columns > width:
        return None
    whole = editor.reshape(node, source, [*shape[:dim], shape[dim] // width, width, *shape[dim + 1 :]])
    part = editor.cut(node, whole, dim, begin // width, rows)
    part = editor.cut(node, part, dim + 1, begin % width, columns)
    order = list(range(len(shape) + 1))
    if turned:
        order[dim], order[dim + 1] = dim + 1, dim
    return editor.reshape(node, editor.permute(node, part, order), shape_of(node))


def _grid(places: list[int], length: int) -> tuple[int, tuple[int, int], tuple[int, int]] | None:
    """Return the first place, and number and distance of places along two axes, the faster one first.

    ``length`` is that of the axis they are taken from. ``None`` if the places are no such grid, or one that
    goes backwards.
    """
    count = len(places)
    if not count:
        return None
    step = places[1] - places[0] if count > 1 else 1
    first = next((n for n in range(1, count) if places[n] - places[n - 1] != step), count)
    second = count // first
    jump = places[first] - places[0] if second > 1 else length if step == 1 else 1
    grid = [places[0] + a * step + b * jump for b in range(second) for a in range(first)]
    return (places[0], (first, step), (second, jump)) if grid == places and step > 0 < jump else None


def _split(editor: Editor, node: fx.Node) -> None:
    """Cut each part where it is taken; every way to split says the same by what its parts are."""
    source, name = source_of(node), base_name(node.target)
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


def _transpose(editor: Editor, node: fx.Node) -> fx.Node:
    source = source_of(node)
    order = list(range(len(shape_of(source))))
    if base_name(node.target) == "t":
        order.reverse()
    else:
        first, second = (d % len(order) for d in arguments(node)[1:3])
        order[first], order[second] = second, first
    return editor.permute(node, source, order)


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


RULES: dict[str, Rule] = {
    **dict.fromkeys(COPIES, _copy),
    **dict.fromkeys((*RESHAPES, "unflatten"), _reshape),
    **dict.fromkeys(SHUFFLES, _shuffle),
    **dict.fromkeys(("t", "transpose"), _transpose),
    **dict.fromkeys(("chunk", "split", "split_with_sizes", "unbind"), _split),
    "index_select": _index_select,
    "narrow": _narrow,
    "select": _select,
    "slice": _slice,
}
