"""Typed access to graph nodes: ``torch.fx`` declares arguments and targets as unions too wide to use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import fx
from torch.utils import _pytree as pytree


def arguments(node: fx.Node) -> list[Any]:
    """All arguments in the order of the operator's schema, defaults where the call leaves them out."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:  # a Python function or a fused node
        return list(node.args)
    declared = schema.arguments
    given = dict(zip((a.name for a in declared), node.args, strict=False)) | node.kwargs
    return [given.get(a.name, a.default_value) for a in declared]


def meta_value(node: fx.Node) -> Any:
    """What the node produced when it was traced: fake tensors, which have a shape and a dtype only."""
    return node.meta["val"]


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """Shape of the one tensor that the node produces."""
    return tuple(node.meta["val"].shape)


def compute(node: fx.Node, values: Mapping[fx.Node, Any]) -> Any:
    """Call the node's operator with values in place of the nodes it reads."""
    args, kwargs = pytree.tree_map_only(fx.Node, lambda n: values[n], (node.args, node.kwargs))
    operator: Any = node.target
    return operator(*args, **kwargs)
