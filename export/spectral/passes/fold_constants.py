"""Everything a program computes from its constants alone is computed once, before the lowering.

The transform of a stored kernel, a frequency grid made in ``forward``, a window: runtimes would recompute
them on every call (``Cos``, ``Sin`` and ``Range`` nodes), and a transform of a constant is no transform site
at all.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from ..graph import compute
from .prune import Pruned

LARGEST_GROWTH = 4
"""How many times larger than what it was computed from a folded value may be, beyond 64 KiB."""


def constant_values(graph: fx.Graph, known: dict[fx.Node, Any]) -> dict[fx.Node, Any]:
    """Values of all nodes that depend on ``known`` (parameters, buffers, constants) alone.

    Only those results are returned that a node outside the constant region reads. Random operators are left
    alone.
    """
    values: dict[fx.Node, Any] = dict(known)
    sizes: dict[fx.Node, int] = {node: _bytes(value) for node, value in known.items()}
    for node in graph.nodes:
        if node.op != "call_function" or not _foldable(node, values):
            continue
        with torch.no_grad():
            result = compute(node, values)
        source = sum(sizes[n] for n in node.all_input_nodes)
        if _bytes(result) > max(LARGEST_GROWTH * source, 1 << 16):
            continue
        values[node], sizes[node] = result, source + _bytes(result)
    computed = set(values) - set(known)
    return {
        node: values[node]
        for node in graph.nodes
        if node in computed
        and any(user not in computed for user in node.users)
        and isinstance(values[node], Tensor)
    }


def _foldable(node: fx.Node, values: dict[fx.Node, Any]) -> bool:
    if any(source not in values for source in node.all_input_nodes):
        return False
    if isinstance(node.target, torch._ops.OpOverload):
        if torch.Tag.nondeterministic_seeded in node.target.tags:
            return False
    elif not isinstance(node.target, Pruned) and getattr(node.target, "__name__", "") != "getitem":
        return False
    return node.meta.get("val") is not None


def _bytes(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, list | tuple):
        return sum(_bytes(v) for v in value)
    return 0
