"""Operators on complex values without a rule, as the operators that PyTorch itself defines them by.

A composite operator (``cov``, ``kron``, ``gradient``) and one with a decomposition in PyTorch's own table
(``var``, ``addr``, ``diag_embed``) are replaced in the graph by their pieces, each of which has a rule or is
expanded in turn. What has neither rule nor definition stays, and the rewriter refuses it by name.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from ..rules import COMPLEX_RULES, find
from ..sites import is_transform


def expand(graph_module: fx.GraphModule) -> None:
    """Replace, in place, the complex operators that have no rule by pieces that have one."""
    graph = graph_module.graph
    changed = False
    for node in list(graph.nodes):
        if _needs_expansion(node):
            pieces = _pieces(node)
            if pieces is not None:
                _inline(graph, node, pieces)
                changed = True
    if changed:
        graph.eliminate_dead_code()
        graph.lint()
        graph_module.recompile()


def _needs_expansion(node: fx.Node) -> bool:
    """Whether it is an operator on complex values that has no rule."""
    if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
        return False
    if is_transform(str(node.target)) or find(COMPLEX_RULES, node.target) is not None:
        return False
    return any(
        isinstance(value, Tensor) and value.is_complex()
        for owner in [node, *node.all_input_nodes]
        for value in pytree.tree_leaves(owner.meta.get("val"))
    )


@cache
def _definitions() -> dict[Any, Callable[..., Any]]:
    """PyTorch's decompositions, except of operators that have a rule here."""
    from torch._decomp import core_aten_decompositions, get_decompositions

    aten = torch.ops.aten
    more = get_decompositions([getattr(aten, name) for name in _MORE if hasattr(aten, name)])
    table = {**dict(core_aten_decompositions()), **more}
    return {operator: pieces for operator, pieces in table.items() if find(COMPLEX_RULES, operator) is None}


_MORE = ("trace", "cov", "lerp", "addcmul", "addcdiv", "linspace", "logspace", "diag_embed", "block_diag")


def _pieces(node: fx.Node) -> fx.GraphModule | None:
    """The node's computation in smaller operators, its tensors being the inputs; ``None``: it has none."""
    leaves, spec = pytree.tree_flatten((node.args, node.kwargs))
    nodes = list(dict.fromkeys(leaf for leaf in leaves if isinstance(leaf, fx.Node)))
    values = [source.meta.get("val") for source in nodes]
    if not values or not all(isinstance(value, Tensor) for value in values):
        return None  # it makes its value from numbers alone, or reads something else than tensors
    operator: Any = node.target

    def call(*tensors: Tensor) -> Any:
        by_node = dict(zip(nodes, tensors, strict=True))
        filled = [by_node[leaf] if isinstance(leaf, fx.Node) else leaf for leaf in leaves]
        args, kwargs = pytree.tree_unflatten(filled, spec)
        return operator(*args, **kwargs)

    functional: Any = torch.func.functionalize
    first: Any = values[0]
    try:
        with torch.no_grad(), first.fake_mode:
            traced = make_fx(functional(call), decomposition_table=_definitions())(*values)
            traced = make_fx(functional(fx.Interpreter(traced).run))(
                *values
            )  # definitions in Python write in place, too
    except Exception:  # it has no definition for these arguments: the rewriter names it
        return None
    calls = [n for n in traced.graph.nodes if n.op == "call_function"]
    if any(n.op == "get_attr" for n in traced.graph.nodes) or any(_needs_expansion(n) for n in calls):
        return None  # refused by the name that the user knows
    return traced


def _inline(graph: fx.Graph, node: fx.Node, pieces: fx.GraphModule) -> None:
    leaves = pytree.tree_leaves((node.args, node.kwargs))
    sources = iter(dict.fromkeys(leaf for leaf in leaves if isinstance(leaf, fx.Node)))
    copies: dict[fx.Node, Any] = {}
    for piece in pieces.graph.nodes:
        if piece.op == "placeholder":
            copies[piece] = next(sources)
        elif piece.op == "call_function":
            with graph.inserting_before(node):
                copy = graph.node_copy(piece, lambda source: copies[source])
            copy.meta = {**node.meta, "val": piece.meta.get("val")}
            copies[piece] = copy
        elif piece.op == "output":
            result = fx.map_arg(piece.args[0], lambda source: copies[source])
            _replace(graph, node, result)


def _replace(graph: fx.Graph, node: fx.Node, result: Any) -> None:
    if isinstance(result, fx.Node):
        node.replace_all_uses_with(result)
    else:
        for user in list(node.users):  # one part of several results
            user.replace_all_uses_with(result[user.args[1]])
            graph.erase_node(user)
    graph.erase_node(node)
