"""Products: with a stored matrix a fully connected layer, else one product for each pair of matrices."""

from __future__ import annotations

import math

import torch
from torch import fx

from ...spectral.graph import arguments
from ..editor import Editor, shape_of
from .values import Rule, as_node, expanded

aten = torch.ops.aten


def _matmul(editor: Editor, node: fx.Node) -> fx.Node | None:
    left, right = (as_node(value) for value in arguments(node)[:2])
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
        whole = expanded(editor, node, editor.reshape(node, operand, own), [*lead, *own[-2:]])
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


def _conv3d(editor: Editor, node: fx.Node) -> fx.Node | None:
    """A sum of two-dimensional convolutions, one for each plane of the kernel.

    ExecuTorch 1.5 has no other: its portable convolution fails on three dimensions when it runs.
    """
    source, weight, bias, stride, padding, dilation, groups = arguments(node)
    kernel = editor.stored(weight)
    if kernel is None or isinstance(padding, str):
        return None
    stride, padding, dilation = ([*each] * (3 // len(each)) for each in (stride, padding, dilation))
    n, c = shape_of(source)[:2]
    depth = shape_of(node)[2]
    if stride[0] != 1:
        return None
    planes = editor.permute(node, source, [0, 2, 1, 3, 4])
    if padding[0]:
        around = [0] * 6 + [padding[0]] * 2
        planes = editor.call(node, aten.constant_pad_nd.default, planes, around, 0.0)
    total: fx.Node | None = None
    for place in range(kernel.shape[2]):
        part = editor.cut(node, planes, 1, place * dilation[0], depth)
        part = editor.reshape(node, part, [n * depth, c, *shape_of(source)[3:]])
        own = (editor.store(kernel[:, :, place]), bias if place == 0 else None)
        part = editor.call(
            node, aten.conv2d.default, part, *own, stride[1:], padding[1:], dilation[1:], groups
        )
        total = part if total is None else editor.call(node, aten.add.Tensor, total, part)
    shape = shape_of(node)
    result = editor.reshape(node, as_node(total), [n, depth, shape[1], *shape[3:]])
    return editor.permute(node, result, [0, 2, 1, 3, 4])


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


RULES: dict[str, Rule] = {"conv3d": _conv3d, "linear": _linear, "matmul": _matmul, "softmax": _softmax}
