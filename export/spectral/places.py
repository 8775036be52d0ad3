"""Where in the network a node comes from, in words."""

from __future__ import annotations

from torch import fx


def module_path(node: fx.Node) -> str:
    """Dotted path of the module whose ``forward`` made this node; empty for the root module."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values()]
    return paths[-1].removeprefix("L['self'].") if paths else ""


def where(node: fx.Node) -> str:
    """A node's place in words, for messages."""
    path = module_path(node)
    return f"module {path!r}" if path else "the root module"
