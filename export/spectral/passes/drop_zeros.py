"""Drops what a network computes with zeros that it makes itself, such as the empty memory of a first step.

Stored as a constant a map of zeros costs as much of a file as any other (0.9 MB in a network of 8), and the
channels of a convolution that read it cost time. Three rules, each exact:

- a product of zeros and a bounded function (sigmoid, tanh, softmax) is zeros;
- a sum with zeros is the other summand;
- a convolution needs no channels that are zeros, nor their part of the weights.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from ..fuse.base import emit
from ..graph import arguments, meta_value, shape_of

aten = torch.ops.aten

MADE = {"aten.zeros.default", "aten.zeros_like.default", "aten.new_zeros.default"}
BOUNDED = {"aten.sigmoid.default", "aten.tanh.default", "aten.softmax.int", "aten._softmax.default"}


def drop_zeros(graph: fx.Graph) -> list[str]:
    """Apply the rules wherever they fit; returns the names of the nodes that were replaced."""
    zeros: set[fx.Node] = set()
    changed = []
    for node in list(graph.nodes):
        name = str(node.target)
        if name in MADE:
            zeros.add(node)
        elif name == "aten.mul.Tensor":
            left, right = arguments(node)
            if any(a in zeros and _bounded(b) for a, b in ((left, right), (right, left))):
                zeros.add(node)
        elif (name == "aten.add.Tensor" and _add(node, zeros)) or (
            name == "aten.conv2d.default" and _convolution(graph, node, zeros)
        ):
            changed.append(node.name)
    if changed:
        graph.eliminate_dead_code()
    return changed


def _bounded(value: Any) -> bool:
    return isinstance(value, fx.Node) and str(value.target) in BOUNDED


def _add(node: fx.Node, zeros: set[fx.Node]) -> bool:
    left, right, _ = arguments(node)
    for zero, other in ((left, right), (right, left)):
        scaled = other is right and arguments(node)[2] != 1
        if zero not in zeros or not isinstance(other, fx.Node) or scaled or other in zeros:
            continue
        if shape_of(other) == shape_of(node) and meta_value(other).dtype == meta_value(node).dtype:
            node.replace_all_uses_with(other)
            return True
    return False


def _convolution(graph: fx.Graph, node: fx.Node, zeros: set[fx.Node]) -> bool:
    """``conv2d(cat([..., zeros, ...], 1), weight)`` without groups."""
    joined, weight, bias, *rest = arguments(node)
    if rest[-1] != 1 or not isinstance(joined, fx.Node) or str(joined.target) != "aten.cat.default":
        return False
    parts, axis = arguments(joined)
    kept = [part for part in parts if part not in zeros]
    if axis not in (1, 1 - len(shape_of(joined))) or not 0 < len(kept) < len(parts):
        return False
    slices, start = [], 0
    with graph.inserting_before(node):
        for part in parts:
            end = start + shape_of(part)[1]
            if part not in zeros:
                slices.append(emit(graph, aten.slice.Tensor, (weight, 1, start, end), node))
            start = end
        image, own = kept[0], slices[0]
        if len(kept) > 1:
            image = emit(graph, aten.cat.default, (kept, 1), node)
            own = emit(graph, aten.cat.default, (slices, 1), node)
        less = emit(graph, aten.conv2d.default, (image, own, bias, *rest), node)
    node.replace_all_uses_with(less)
    return True
