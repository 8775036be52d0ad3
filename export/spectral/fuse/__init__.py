"""Replaces chains of operators by an equal computation that runtimes do not spread over huge intermediates.

Each pattern is found on the exported graph, checked, and replaced by nodes that call small Python objects;
the rewriter traces through those objects, so the lowered program has ordinary operators again, in a better
order.
"""

from __future__ import annotations

from collections.abc import Collection

from torch import fx

from .adaptive import rewrite_sum
from .base import Fused
from .maps import rewrite_maps
from .planar import rewrite_planar
from .runtime_kernels import rewrite_runtime_kernels
from .windows import rewrite_windows

__all__ = ["Fused", "fuse"]


def fuse(
    graph: fx.Graph, *, channels_last: bool, runtime_kernels: bool = True, inputs: Collection[str] = ()
) -> list[str]:
    """Apply every pattern wherever it fits; returns the names of the nodes that were replaced.

    ``channels_last``: the runtime's convolutions keep channels as the fastest index. ``runtime_kernels``:
    they take kernels that depend on ``inputs``, the names of the program's own inputs.
    """
    changed = []
    for node in list(graph.nodes):
        if node.op != "call_function":
            continue
        found = rewrite_sum(graph, node, channels_last=channels_last) or rewrite_windows(graph, node)
        if found is None and channels_last:
            found = rewrite_maps(graph, node)
        if found is None and not runtime_kernels:
            found = rewrite_runtime_kernels(graph, node, inputs)
        if found is not None:
            changed.append(node.name)
    if changed:
        graph.eliminate_dead_code()
    if channels_last:
        changed += [node.name for node in list(graph.nodes) if rewrite_planar(graph, node)]
    return changed
