"""Holds what the lowering computes against what the network computes, node by node and at the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from ...runtime.errors import LoweringFaultError
from ..widening import InDouble
from .graph import where
from .pairs import REAL_OF, Interleaved, Pair

LARGEST_ERROR = {torch.float64: 1e-9, torch.float32: 1e-3, torch.float16: 5e-2, torch.bfloat16: 2e-1}
"""Largest ``max|error| / max|value|`` of a lowered network on its example inputs, by its narrowest dtype.

Far above rounding, far below what a wrong operator makes. A network that is worse than this by itself, in
eager PyTorch against double precision, is allowed ten times its own error.
"""


def as_real(value: Any) -> Any:
    """A complex tensor as the real one with a last axis of 2; anything else as it is."""
    if isinstance(value, Tensor) and value.is_complex():
        return torch.view_as_real(value.resolve_conj())
    return value


def check_result(node: fx.Node, result: Any) -> None:
    """Hold a rule's result against the shape and dtype that torch recorded for the node.

    Raises:
        LoweringFaultError: they differ; names the operator, the module and both.
    """
    if "val" not in node.meta:
        return
    recorded = pytree.tree_leaves(node.meta["val"])
    computed = pytree.tree_leaves(result, is_leaf=_is_pair)
    if len(recorded) != len(computed):
        raise LoweringFaultError(
            f"{node.target} in {where(node)} was lowered to {len(computed)} tensors instead of "
            f"{len(recorded)}; this is a fault of its lowering rule"
        )
    for want, got in zip(recorded, computed, strict=True):
        if isinstance(want, Tensor) and not _agrees(want, got):
            raise LoweringFaultError(
                f"{node.target} in {where(node)} was lowered to {_describe(got)} instead of "
                f"{_describe(want)}; this is a fault of its lowering rule"
            )


def _agrees(want: Tensor, got: Any) -> bool:
    if isinstance(got, Pair):
        parts = REAL_OF.get(want.dtype)
        return all(part.shape == want.shape and part.dtype == parts for part in (got.re, got.im))
    if isinstance(got, Interleaved):
        return (*got.pair.re.shape, 2) == tuple(want.shape) and got.pair.re.dtype == want.dtype
    return isinstance(got, Tensor) and got.shape == want.shape and got.dtype == want.dtype


def _describe(value: Any) -> str:
    if isinstance(value, Pair):
        kinds = {str(part.dtype).removeprefix("torch.") for part in (value.re, value.im)}
        return f"a pair of {' and '.join(sorted(kinds))} {tuple(value.re.shape)} and {tuple(value.im.shape)}"
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    return type(value).__name__


def _is_pair(value: Any) -> bool:
    return isinstance(value, Pair | Interleaved)


def relative_error(actual: Any, expected: Any) -> float:
    """Largest ``max|error| / max|value|`` over all outputs; infinite where a finite value was lost."""
    worst = 0.0
    for a, b in zip(pytree.tree_leaves(actual), pytree.tree_leaves(expected), strict=True):
        if not isinstance(b, Tensor) or not b.numel():
            continue
        a, b = as_real(a), as_real(b)
        if a.shape != b.shape:
            return float("inf")
        if not b.is_floating_point():
            continue
        finite = torch.isfinite(b)
        if not bool(torch.isfinite(a[finite]).all()):
            return float("inf")
        scale = max(float(b[finite].abs().max()) if bool(finite.any()) else 0.0, 1e-30)
        error = torch.where(finite, a.to(b.dtype) - b, torch.zeros_like(b)).abs().max()
        worst = max(worst, float(error) / scale)
    return worst


def is_random(graph: fx.Graph) -> bool:
    """Whether the graph draws random numbers: two runs of it cannot be compared."""
    return any(
        isinstance(node.target, torch._ops.OpOverload)
        and "dropout" not in str(node.target)  # off in eval mode
        and (torch.Tag.nondeterministic_seeded in node.target.tags or "empty" in str(node.target))
        for node in graph.nodes
    )


def largest_error(graph: fx.Graph) -> float:
    """The entry of :data:`LARGEST_ERROR` for the narrowest dtype that any node of a network computes in."""
    values = [value for node in graph.nodes for value in pytree.tree_leaves(node.meta.get("val"))]
    kinds = {REAL_OF.get(value.dtype, value.dtype) for value in values if isinstance(value, Tensor)}
    return max((LARGEST_ERROR.get(kind, 0.0) for kind in kinds), default=0.0)


def own_error(module: nn.Module, inputs: tuple[Tensor, ...], expected: Any) -> float:
    """How far the network itself, in eager PyTorch, is from its result in double precision; 0 if unknown."""
    try:
        return relative_error(expected, InDouble(module)(*inputs))
    except Exception:  # the network's own code runs here, and may know of no double precision
        return 0.0


class Recorder(fx.Interpreter):
    """Runs a traced graph and keeps a copy of each node's value by the node's name."""

    def __init__(self, graph_module: fx.GraphModule) -> None:
        """Start with nothing recorded."""
        super().__init__(graph_module, garbage_collect_values=True)
        self.extra_traceback = False
        self.values: dict[str, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Compute and keep."""
        value = super().run_node(n)
        self.values[n.name] = value
        return value


def first_departure(
    graph: fx.Graph, original: Mapping[str, Any], lowered: Mapping[str, Any], bound: float
) -> tuple[fx.Node, float] | None:
    """The first node of ``graph`` whose lowered value is off by more than ``bound``, and by how much."""
    for node in graph.nodes:
        if node.op != "call_function" or node.name not in lowered or node.name not in original:
            continue
        actual = [_joined(v) for v in pytree.tree_leaves(lowered[node.name], is_leaf=_is_pair)]
        expected = pytree.tree_leaves(original[node.name])
        if len(actual) != len(expected) or not all(isinstance(value, Tensor) for value in actual):
            continue
        error = relative_error(actual, expected)
        if error > bound:
            return node, error
    return None


def _joined(value: Any) -> Any:
    if isinstance(value, Interleaved):
        return value.materialize()
    return torch.stack([value.re, value.im], -1) if isinstance(value, Pair) else value
