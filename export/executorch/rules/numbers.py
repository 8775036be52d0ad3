"""Arithmetic of single values: numbers become stored tensors, the rest is written by what XNNPACK takes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, fx

from ...aten import ARITHMETIC, base_name
from ...spectral.graph import arguments
from ..editor import Editor
from .values import Rule, scalar, source_of

aten = torch.ops.aten


def _with_scalar(editor: Editor, node: fx.Node) -> fx.Node | None:
    """A number beside a tensor becomes a stored tensor; otherwise one is made at every run."""
    left, right, *rest = arguments(node)
    value: Tensor = node.meta["val"]
    if isinstance(right, fx.Node) or not isinstance(left, fx.Node) or any(r not in (1, None) for r in rest):
        return None
    if not value.is_floating_point() or left.meta["val"].dtype != value.dtype:
        return None
    return editor.call(node, getattr(aten, base_name(node.target)).Tensor, left, scalar(editor, right, left))


def _reversed(editor: Editor, node: fx.Node) -> fx.Node | None:
    """``rsub``: the second minus the first."""
    source, other, alpha = (*arguments(node), 1)[:3]
    if alpha != 1 or not source.meta["val"].is_floating_point():
        return None
    return editor.call(node, aten.sub.Tensor, scalar(editor, other, source), source)


def _log1p(editor: Editor, node: fx.Node) -> fx.Node | None:
    source = source_of(node)
    if not source.meta["val"].is_floating_point():
        return None
    more = editor.call(node, aten.add.Tensor, source, scalar(editor, 1.0, source))
    return editor.call(node, aten.log.default, more)


def _log10(editor: Editor, node: fx.Node) -> fx.Node | None:
    source = source_of(node)
    if not source.meta["val"].is_floating_point():
        return None
    natural = editor.call(node, aten.log.default, source)
    return editor.call(node, aten.mul.Tensor, natural, scalar(editor, 1 / math.log(10), source))


def _softplus(editor: Editor, node: fx.Node) -> fx.Node:
    """``max(x, 0) + log(1 + exp(-abs(x)))``, where nothing overflows."""
    source, beta = arguments(node)[:2]
    x = source if beta == 1 else editor.call(node, aten.mul.Tensor, source, scalar(editor, beta, source))
    small = editor.call(node, aten.neg.default, editor.call(node, aten.abs.default, x))
    one = scalar(editor, 1.0, x)
    more = editor.call(node, aten.add.Tensor, editor.call(node, aten.exp.default, small), one)
    logarithm = editor.call(node, aten.log.default, more)
    result = editor.call(node, aten.add.Tensor, editor.call(node, aten.relu.default, x), logarithm)
    return result if beta == 1 else editor.call(node, aten.div.Tensor, result, scalar(editor, beta, x))


def _square(editor: Editor, node: fx.Node) -> fx.Node | None:
    source = source_of(node)
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
    source = source_of(node)
    if not source.meta["val"].is_floating_point():
        return None
    return editor.call(node, aten.div.Tensor, scalar(editor, 1.0, source), source)


RULES: dict[str, Rule] = {
    **dict.fromkeys(ARITHMETIC, _with_scalar),
    "log10": _log10,
    "log1p": _log1p,
    "pow": _power,
    "reciprocal": _reciprocal,
    "rsub": _reversed,
    "softplus": _softplus,
    "square": _square,
}
