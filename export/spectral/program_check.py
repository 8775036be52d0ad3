"""Holds a lowered program against the network it came from, on the example inputs.

A network can lose its own digits on them: an output that is zero but for rounding, the phase of a spectrum
that is zero. Then eager PyTorch has no stable answer there either, and the bound is what the network's own
result moves by; the program is held against it on other inputs as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.utils import _pytree as pytree

from ...models.widening import InDouble, own_copy
from ...runtime.errors import LoweringError, LoweringFaultError
from .graph import arguments, where
from .outputs import tensors_of
from .pairs import REAL_OF, Interleaved, Pair
from .rewriter import LoweredModule
from .selfcheck import as_real, is_pair, relative_error
from .trace import trace

LARGEST_ERROR = {torch.float64: 1e-9, torch.float32: 1e-3, torch.float16: 5e-2, torch.bfloat16: 2e-1}
"""Largest ``max|error| / max|value|`` of a lowered network on its example inputs, by its narrowest dtype.

Far above rounding, far below what a wrong operator makes. A network that is worse than this by itself, in
eager PyTorch against double precision, is allowed ten times its own error.
"""

NO_DIGITS = 100
"""Roundings of the largest value inside a network: an output below is rounding alone, whatever it is."""

DISTANCE = 0.1
"""How far the other inputs lie from the example inputs, of their largest value."""


@dataclass(frozen=True)
class Check:
    """Relative error (``None``: the network draws random numbers) and remarks on it.

    On the example inputs; where the network has no digits there, on those or on inputs near them.
    """

    error: float | None
    notes: tuple[str, ...] = ()


def check_program(
    program: ExportedProgram, module: nn.Module, example_inputs: tuple[Tensor, ...], lowered: LoweredModule
) -> Check:
    """Compare the program with the network.

    Raises:
        LoweringFaultError: the error is past the bound; names the first node that departs.
        LoweringError: the network itself fails on the example inputs.
    """
    graph = lowered.graph_module.graph
    if is_random(graph):
        return Check(None)
    bound = largest_error(graph)
    error, _ = _error(program, module, example_inputs)
    if error <= bound:
        return Check(error)
    own = _hold(program, module, example_inputs, lowered)
    others = _others(example_inputs)
    there, _ = _error(program, module, others)
    if there > bound:
        _hold(program, module, others, lowered)
    note = (
        f"self check: on the example inputs the network's own result moves by {own:.0e} of its largest value "
        f"with its rounding, so {error:.1e} says little; near them the error is {there:.1e}"
    )
    return Check(min(error, there), (note,))


def _hold(
    program: ExportedProgram, module: nn.Module, inputs: tuple[Tensor, ...], lowered: LoweredModule
) -> float:
    """Allow what the network's own rounding explains; returns by how much that moves its result.

    Raises:
        LoweringFaultError: it does not explain the error.
    """
    traced, values = _record(module, inputs)
    largest = max((_largest(value) for value in values.values()), default=0.0)
    kinds = [kind for kind in LARGEST_ERROR if LARGEST_ERROR[kind] == largest_error(traced)]
    nothing = NO_DIGITS * max((torch.finfo(kind).eps for kind in kinds), default=0.0) * largest
    error, expected = _error(program, module, inputs, nothing)
    own = own_error(module, inputs, expected)
    bound = max(largest_error(traced), 10 * own)
    if error <= bound:
        return own
    lowered.record = {}
    lowered(*(as_real(value).contiguous() for value in inputs))
    departure = first_departure(traced, values, lowered.record, bound)
    where_from = "each operator by itself is right, so the fault is in a later rewriting of the whole program"
    if departure is not None:
        node, by = departure
        where_from = f"the first that departs is {node.target} ({node.name}) in {where(node)}, by {by:.1e}"
    raise LoweringFaultError(
        f"the lowered network is off by {error:.1e} of its largest value on the example inputs or near them "
        f"(at most {bound:.0e} is allowed); {where_from}"
    )


def _error(
    program: ExportedProgram, module: nn.Module, inputs: tuple[Tensor, ...], nothing: float = 0.0
) -> tuple[float, Any]:
    """(relative error of the program on these inputs, what the network computes)."""
    try:
        expected = tensors_of(module(*inputs))
    except Exception as fault:  # the network's own code runs here
        raise LoweringError(
            f"the network itself fails on the example inputs: {type(fault).__name__}: {str(fault)[:200]}"
        ) from fault
    actual = program.module()(*(as_real(value).contiguous() for value in inputs))
    return relative_error(actual, expected, nothing), expected


def _record(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[fx.Graph, dict[str, Any]]:
    """The network's graph, and each node's value on these inputs."""
    exported, _ = trace(module, inputs)
    recorder = Recorder(exported.graph_module)
    stored = {**exported.state_dict, **exported.constants}
    remaining = iter(inputs)
    recorder.run(
        *(
            next(remaining) if spec.kind is InputKind.USER_INPUT else stored[spec.target or ""]
            for spec in exported.graph_signature.input_specs
        )
    )
    return exported.graph_module.graph, recorder.values


def _largest(value: Any) -> float:
    """Largest finite magnitude among the tensors of a value."""
    leaves = [as_real(leaf) for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor)]
    finite = [v[torch.isfinite(v)] for v in leaves if v.is_floating_point()]
    return max((float(v.abs().max()) for v in finite if v.numel()), default=0.0)


def _others(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Inputs near the given ones, without what is special about them; numbers that are no floats stay."""
    generator = torch.Generator().manual_seed(0)

    def moved(value: Tensor) -> Tensor:
        if not (value.is_floating_point() or value.is_complex()) or not value.numel():
            return value
        real = as_real(value)
        noise = torch.randn(real.shape, generator=generator, dtype=torch.float64)
        scale = DISTANCE * (float(real.abs().max()) or 1.0)
        near: Tensor = (real + scale * noise).to(real.dtype)
        return torch.view_as_complex(near) if value.is_complex() else near

    return tuple(moved(value) for value in inputs)


def is_random(graph: fx.Graph) -> bool:
    """Whether the graph draws random numbers: two runs of it cannot be compared."""
    return any(_draws(node) for node in graph.nodes if isinstance(node.target, torch._ops.OpOverload))


def _draws(node: fx.Node) -> bool:
    name, target = str(node.target), node.target
    assert isinstance(target, torch._ops.OpOverload)
    if "dropout" in name:  # off in eval mode
        return False
    if "scaled_dot_product" in name:
        names = [argument.name for argument in target._schema.arguments]
        return "dropout_p" in names and bool(arguments(node)[names.index("dropout_p")])
    return torch.Tag.nondeterministic_seeded in target.tags or "empty" in name


def largest_error(graph: fx.Graph) -> float:
    """The entry of :data:`LARGEST_ERROR` for the narrowest dtype that any node of a network computes in."""
    values = [value for node in graph.nodes for value in pytree.tree_leaves(node.meta.get("val"))]
    kinds = {REAL_OF.get(value.dtype, value.dtype) for value in values if isinstance(value, Tensor)}
    return max((LARGEST_ERROR.get(kind, 0.0) for kind in kinds), default=0.0)


def own_error(module: nn.Module, inputs: tuple[Tensor, ...], expected: Any) -> float:
    """How far eager PyTorch's result is from that in double precision, or moves when its numbers are rounded
    otherwise, whichever is more; 0 if unknown."""
    rounding = _rounding()

    def rounded() -> Any:
        copied: Any = own_copy(module)
        return copied._apply(rounding)(*(rounding(value) for value in inputs))

    return max(_moves(expected, lambda: InDouble(module)(*inputs)), _moves(expected, rounded))


def _moves(expected: Any, compute: Callable[[], Any]) -> float:
    """How far another computation of a result is from it; 0 if it fails."""
    try:
        result = tensors_of(compute())
        return max(relative_error(expected, result), relative_error(result, expected))
    except Exception:  # the network's own code runs here
        return 0.0


def _rounding() -> Callable[[Tensor], Tensor]:
    """A function that moves each number of a tensor by one rounding, up or down; zeros where all are zero."""
    generator = torch.Generator().manual_seed(0)

    def moved(value: Tensor) -> Tensor:
        if not (value.is_floating_point() or value.is_complex()):
            return value
        kind = REAL_OF.get(value.dtype, value.dtype)
        signs = torch.randint(0, 2, value.shape, generator=generator).to(kind) * 2 - 1
        if not bool((value != 0).any()):
            return (torch.finfo(kind).tiny * signs).to(value.dtype)
        return value.detach() * (1 + torch.finfo(kind).eps * signs)

    return moved


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
        actual = [_joined(v) for v in pytree.tree_leaves(lowered[node.name], is_leaf=is_pair)]
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
