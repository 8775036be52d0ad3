"""What a network returns: names for the tensors, wherever they are in tuples, lists and dictionaries."""

from __future__ import annotations

from typing import Any

from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

ROOT = "out"


def tensors_of(result: Any) -> Any:
    """Return a network's result, or, where it holds more than tensors, a tuple of the tensors in it."""
    leaves = pytree.tree_leaves(result)
    if all(isinstance(leaf, Tensor) for leaf in leaves):
        return result
    return tuple(leaf for leaf in leaves if isinstance(leaf, Tensor))


def name_outputs(exported: ExportedProgram) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(a name for each tensor that a traced network returns, notes on what it returns beside tensors)."""
    nodes = next(node for node in reversed(exported.graph.nodes) if node.op == "output").args[0]
    kept = nodes[len(nodes) - len(exported.graph_signature.user_outputs) :]  # after those that change state
    result = pytree.tree_unflatten(list(kept), exported.call_spec.out_spec)
    names, notes = [], []
    for path, leaf in pytree.tree_flatten_with_path(result)[0]:
        name = ".".join([ROOT, *(_step(key) for key in path)])
        if isinstance(leaf, fx.Node) and isinstance(leaf.meta.get("val"), Tensor):
            names.append(name)
        else:
            notes.append(f"output {name} is {leaf!r}, not a tensor, and is left out")
    return tuple(names), tuple(notes)


def _step(key: Any) -> str:
    for attribute in ("name", "key", "idx"):  # of a named tuple, of a dictionary, of a list
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)
