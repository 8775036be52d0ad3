"""What several rules need: the node they read, and a number beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx

from ..editor import Editor, shape_of

aten = torch.ops.aten

Rule = Callable[[Editor, fx.Node], "fx.Node | None"]
"""Returns what is written in the place of a node, or ``None`` to leave it as it is."""

LARGEST_RANK = 6
"""Of a tensor in XNNPACK."""


def source_of(node: fx.Node) -> fx.Node:
    """Return the node that a node reads first."""
    return as_node(node.args[0])


def as_node(value: Any) -> fx.Node:
    """Return an argument of a node that is known to be a node."""
    assert isinstance(value, fx.Node)
    return value


def scalar(editor: Editor, value: Any, like: fx.Node) -> fx.Node:
    """Store a number as a tensor that is read beside ``like``: of one axis, if that has any."""
    if isinstance(value, fx.Node):
        return value
    return editor.store(torch.full([1] * min(1, len(shape_of(like))), value, dtype=like.meta["val"].dtype))


def expanded(editor: Editor, like: fx.Node, source: fx.Node, shape: Sequence[int]) -> fx.Node:
    """Return ``source`` in a shape that it broadcasts to: its product with ones."""
    own = shape_of(source)
    if own == list(shape):
        return source
    missing = [wanted if side != wanted else 1 for side, wanted in zip(own, shape, strict=True)]
    ones = editor.store(torch.ones(missing, dtype=source.meta["val"].dtype))
    return editor.call(like, aten.mul.Tensor, source, ones)


def joined(editor: Editor, like: fx.Node, parts: Sequence[fx.Node], dim: int) -> fx.Node:
    """Return parts behind each other, of which none is another one.

    XNNPACK refuses to join a value with itself, so that its second place is taken by its product with one.
    """
    different: list[fx.Node] = []
    for part in parts:
        again = part in different and part.meta["val"].is_floating_point()
        if again:
            part = editor.call(like, aten.mul.Tensor, part, scalar(editor, 1.0, part))
        different.append(part)
    return editor.call(like, aten.cat.default, different, dim)
