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


MODULE = "module"
"""Key under which a trace keeps the original's module path, in the ``custom`` entry of a node's meta."""
SITE = "site"
"""Key, in the same entry, of the name of the transform site that a node belongs to; absent elsewhere."""
SITE_NAME = "fdikp_edge_site"
"""Key in a node's ``meta``: the name of the network's own transform that the node now computes."""


def site_name(node: fx.Node) -> str:
    """Name of a transform's site: that of the network's own node, wherever a pattern has moved it."""
    return str(node.meta.get(SITE_NAME, node.name))


def module_path(node: fx.Node) -> str:
    """Dotted path of the module whose ``forward`` made this node; empty for the root module."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values()]
    return paths[-1].removeprefix("L['self'].") if paths else ""


def where(node: fx.Node) -> str:
    """A node's place in words, for messages."""
    path = module_path(node)
    return f"module {path!r}" if path else "the root module"


def compute(node: fx.Node, values: Mapping[fx.Node, Any]) -> Any:
    """Call the node's operator with values in place of the nodes it reads."""
    args, kwargs = pytree.tree_map_only(fx.Node, lambda n: values[n], (node.args, node.kwargs))
    operator: Any = node.target
    return operator(*args, **kwargs)


def insert(
    graph: fx.Graph, target: Any, args: Any, like: fx.Node, kwargs: Mapping[str, Any] | None = None
) -> fx.Node:
    """Add a call at the graph's point of insertion: with the place that ``like`` has in the network, and with
    its own shape and dtype."""
    node = graph.call_function(target, args, dict(kwargs or {}))
    node.meta = dict(like.meta)
    fake = fx.map_arg(args, lambda n: n.meta["val"])
    with like.meta["val"].fake_mode:
        node.meta["val"] = target(*fake, **(kwargs or {}))
    return node
