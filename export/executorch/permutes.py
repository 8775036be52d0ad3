"""Fewer permutes: each moves every value of a map, and XNNPACK takes them as they are written.

A product with a matrix on the left becomes one on the right between two permutes (:mod:`.rules`). The
products of real and imaginary part read the same maps, and their results are added: so equal permutes become
one, a sum of permuted maps becomes a permuted sum, and a permute of a permute becomes one or none.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from ..aten import base_name
from .editor import Editor, shape_of

aten = torch.ops.aten

ARITHMETIC = frozenset(["add", "sub", "mul", "div"])


def move_permutes(editor: Editor) -> None:
    """Rewrite the program in place."""
    known: dict[tuple[fx.Node, tuple[int, ...]], fx.Node] = {}
    for node in list(editor.graph.nodes):
        if node.op != "call_function":
            continue
        new = None
        if base_name(node.target) in ARITHMETIC:
            new = _permuted_result(editor, node)
        node = node if new is None else new
        order = _order(node)
        if order is None:
            continue
        source: Any = node.args[0]
        inner = _order(source)
        if inner is not None:
            source = source.args[0]
            order = tuple(inner[axis] for axis in order)
        if order == tuple(range(len(order))):
            editor.replace(node, source)
        elif (source, order) in known:
            editor.replace(node, known[source, order])
        elif inner is not None:
            known[source, order] = moved = editor.permute(node, source, order)
            editor.replace(node, moved)
        else:
            known[source, order] = node
    editor.graph.eliminate_dead_code()


def _permuted_result(editor: Editor, node: fx.Node) -> fx.Node | None:
    """The permute of the arithmetic, in place of arithmetic of two maps permuted alike."""
    operands = [arg for arg in node.args if isinstance(arg, fx.Node)]
    orders = [_order(operand) for operand in operands]
    if len(operands) != 2 or len(node.args) != 2 or node.kwargs or orders[0] is None:
        return None
    if orders[0] != orders[1] or shape_of(operands[0]) != shape_of(operands[1]):
        return None
    result = editor.call(node, node.target, *(operand.args[0] for operand in operands))
    moved = editor.permute(node, result, orders[0])
    editor.replace(node, moved)
    return moved


def _order(node: fx.Node) -> tuple[int, ...] | None:
    """The order of the axes after a permute, ``None`` for another operator."""
    if node.op != "call_function" or node.target is not aten.permute.default:
        return None
    dims: Any = node.args[1]
    return tuple(dim % len(dims) for dim in dims)
