"""Keeps every value of a program at five dimensions or fewer, which is what Core ML and many delegates take.

Window partitions are written with six axes. Neither a permute nor broadcasting arithmetic needs them all:
axes that stay neighbours in the same order, or that every operand either has or lacks together, act as one.
Each operator of higher rank is rewritten as reshape, the operator on merged axes, reshape back; then reshapes
of reshapes collapse and the high-rank values are gone. Operators that cannot be rewritten are left alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from ...aten import base_name
from ..graph import insert

LARGEST_RANK = 5
aten = torch.ops.aten

_RESHAPES = ("view", "reshape", "_unsafe_view", "flatten", "unflatten", "unsqueeze", "squeeze")
_ARITHMETIC = [
    "add",
    "sub",
    "mul",
    "div",
    "neg",
    "abs",
    "square",
    "reciprocal",
    "pow",
    "sign",
    "clamp",
    "where",
]
_FUNCTIONS = ["exp", "log", "sqrt", "rsqrt", "sin", "cos", "atan", "atan2", "sigmoid", "tanh"]
_ACTIVATIONS = ["relu", "gelu", "silu", "leaky_relu", "softshrink"]
_ELEMENTWISE = frozenset([*_ARITHMETIC, *_FUNCTIONS, *_ACTIVATIONS, "lt", "gt", "le", "ge", "eq", "ne"])


def reduce_ranks(program: ExportedProgram) -> ExportedProgram:
    """Rewrite ``program`` in place where its values have more than :data:`LARGEST_RANK` axes; returns it."""
    graph = program.graph_module.graph
    if all(_rank(node) <= LARGEST_RANK for node in graph.nodes):
        return program
    for node in list(graph.nodes):
        high = (
            node.op == "call_function"
            and max([_rank(node), *map(_rank, node.all_input_nodes)]) > LARGEST_RANK
        )
        if high:
            _rewrite(graph, node)
    for node in list(graph.nodes):
        if _name(node) == "reshape":
            source = _source(node)
            while _name(source) in _RESHAPES:
                source = _source(source)
            node.replace_input_with(_source(node), source)
    graph.eliminate_dead_code()
    _reshape_stored(program)
    program.graph_module.recompile()
    return program


def _rewrite(graph: fx.Graph, node: fx.Node) -> None:
    name = _name(node)
    if name == "unbind":
        _unbind(graph, node)
        return
    with graph.inserting_before(node):
        result: fx.Node | None = None
        if name in _RESHAPES or name == "clone":
            result = _reshape(graph, node.args[0], _shape(node), node)
        elif name in ("permute", "transpose"):
            result = _permute(graph, node)
        elif name == "select":
            result = _select(graph, node)
        elif name == "slice":
            result = _slice(graph, node)
        elif name in ("stack", "cat"):
            result = _join(graph, node)
        elif name in ("sum", "mean"):
            result = _reduce(graph, node)
        elif name == "matmul":
            result = _matmul(graph, node)
        elif name == "einsum":
            result = _einsum(graph, node)
        elif name in _ELEMENTWISE:
            result = _elementwise(graph, node)
        if result is not None:
            node.replace_all_uses_with(_reshape(graph, result, _shape(node), node))


def _permute(graph: fx.Graph, node: fx.Node) -> fx.Node:
    """Axes that stay neighbours in order move as one."""
    source, rank = _source(node), _rank(node)
    if _name(node) == "permute":
        order = [d % rank for d in _ints(node.args[1])]
    else:
        order = list(range(rank))
        first, second = (d % rank for d in _ints(node.args[1:3]))
        order[first], order[second] = second, first
    groups: list[list[int]] = []
    for axis in order:
        if groups and groups[-1][-1] + 1 == axis:
            groups[-1].append(axis)
        else:
            groups.append([axis])
    shape = _shape(source)
    by_position = sorted(groups)
    merged = _reshape(graph, source, [math.prod(shape[a] for a in group) for group in by_position], node)
    return insert(graph, aten.permute.default, (merged, [by_position.index(group) for group in groups]), node)


def _select(graph: fx.Graph, node: fx.Node) -> fx.Node:
    """The axes before and after the selected one are one each."""
    source, shape = _source(node), _shape(_source(node))
    dim = _ints([node.args[1]])[0] % len(shape)
    merged = _reshape(graph, source, [math.prod(shape[:dim]), shape[dim], math.prod(shape[dim + 1 :])], node)
    return insert(graph, aten.select.int, (merged, 1, node.args[2]), node)


def _unbind(graph: fx.Graph, node: fx.Node) -> None:
    """Each part is selected where it is taken."""
    dim = node.args[1] if len(node.args) > 1 else 0
    for taken in list(node.users):
        with graph.inserting_before(taken):
            part = insert(graph, aten.select.int, (_source(node), dim, taken.args[1]), taken)
            merged = _select(graph, part)
            taken.replace_all_uses_with(_reshape(graph, merged, _shape(taken), taken))


def _slice(graph: fx.Graph, node: fx.Node) -> fx.Node:
    """The axes before and after the sliced one are one each."""
    source, shape = _source(node), _shape(_source(node))
    dim = _ints([node.args[1] if len(node.args) > 1 else 0])[0] % len(shape)
    merged = _reshape(graph, source, [math.prod(shape[:dim]), shape[dim], math.prod(shape[dim + 1 :])], node)
    return insert(graph, aten.slice.Tensor, (merged, 1, *node.args[2:]), node)


def _join(graph: fx.Graph, node: fx.Node) -> fx.Node:
    """A concatenation of the parts with one axis before the joined (or the new) one and one after it."""
    parts: Any = node.args[0]
    new = _name(node) == "stack"
    dim = _ints([node.args[1] if len(node.args) > 1 else 0])[0] % _rank(node)
    flat = []
    for part in parts:
        shape = _shape(part)
        middle, after = (1, shape[dim:]) if new else (shape[dim], shape[dim + 1 :])
        flat.append(_reshape(graph, part, [math.prod(shape[:dim]), middle, math.prod(after)], node))
    return insert(graph, aten.cat.default, (flat, 1), node)


def _reduce(graph: fx.Graph, node: fx.Node) -> fx.Node | None:
    """Neighbouring axes that are summed are one, with one axis before and one after them."""
    given: Any = node.args[1] if len(node.args) > 1 else None
    source, shape = _source(node), _shape(_source(node))
    dims = sorted(d % len(shape) for d in _ints(given or []))
    if not dims or dims != list(range(dims[0], dims[-1] + 1)) or node.kwargs:
        return None
    before, middle, after = shape[: dims[0]], shape[dims[0] : dims[-1] + 1], shape[dims[-1] + 1 :]
    merged = _reshape(graph, source, [math.prod(before), math.prod(middle), math.prod(after)], node)
    return insert(graph, node.target, (merged, [1]), node)


def _matmul(graph: fx.Graph, node: fx.Node) -> fx.Node | None:
    """The axes of many products are one, where both operands have them or one is a single matrix."""
    operands = node.all_input_nodes
    if len(operands) != 2 or min(map(_rank, operands)) < 2:
        return None
    lead = _shape(node)[:-2]
    merged = []
    for source in operands:
        shape = _shape(source)
        if _rank(source) > 2 and shape[:-2] != lead:
            return None
        single = _rank(source) == 2
        merged.append(source if single else _reshape(graph, source, [math.prod(lead), *shape[-2:]], node))
    first: Any = node.args[0]
    if first is not operands[0]:
        merged.reverse()
    return insert(graph, aten.matmul.default, tuple(merged), node)


def _einsum(graph: fx.Graph, node: fx.Node) -> fx.Node | None:
    """Letters that stand side by side wherever they stand are one."""
    equation: Any = node.args[0]
    operands: Any = node.args[1]
    terms, arrow, out = equation.replace(" ", "").partition("->")
    if not arrow or "." in equation:
        return None
    written = [*terms.split(","), out]
    if any(len(set(term)) != len(term) for term in written):
        return None  # a diagonal
    groups: list[str] = []
    for letter in out:
        joined = (groups[-1] if groups else "") + letter
        if groups and all(joined in term or not set(joined) & set(term) for term in written):
            groups[-1] = joined
        else:
            groups.append(letter)
    merged = []
    for source, term in zip(operands, terms.split(","), strict=True):
        size = dict(zip(term, _shape(source), strict=True))
        kept = [g for g in groups if g[0] in term] + [c for c in term if c not in out]
        ordered = sorted(kept, key=lambda group: term.index(group[0]))
        merged.append(_reshape(graph, source, [math.prod(size[c] for c in g) for g in ordered], node))
    for group in groups:
        written = [term.replace(group, group[0]) for term in written]
    shorter = f"{','.join(written[:-1])}->{written[-1]}"
    return insert(graph, aten.einsum.default, (shorter, merged), node)


def _elementwise(graph: fx.Graph, node: fx.Node) -> fx.Node | None:
    """Neighbouring axes that each operand either has in full or broadcasts over are one."""
    out = _shape(node)
    operands = {source: [1] * (len(out) - _rank(source)) + _shape(source) for source in node.all_input_nodes}
    groups: list[list[int]] = [[0]]
    for axis in range(1, len(out)):
        together = [*groups[-1], axis]
        full = [all(shape[a] == out[a] for a in together) for shape in operands.values()]
        absent = [all(shape[a] == 1 for a in together) for shape in operands.values()]
        if all(a or b for a, b in zip(full, absent, strict=True)):
            groups[-1].append(axis)
        else:
            groups.append([axis])
    if len(groups) > LARGEST_RANK:
        return None
    merged = {
        source: _reshape(graph, source, [math.prod(shape[a] for a in group) for group in groups], node)
        for source, shape in operands.items()
        if _rank(source) > 0
    }
    args = fx.map_arg(node.args, lambda n: merged.get(n, n))
    return insert(graph, node.target, args, node, dict(node.kwargs))


def _reshape_stored(program: ExportedProgram) -> None:
    """A stored tensor of high rank that is only read through one reshape is stored in that shape."""
    targets = {spec.arg.name: spec.target for spec in program.graph_signature.input_specs if spec.target}
    graph = program.graph_module.graph
    for node in list(graph.nodes):
        key = targets.get(node.name) if node.op == "placeholder" else None
        if key is None or _rank(node) <= LARGEST_RANK or key not in program.state_dict:
            continue
        shapes = {tuple(_shape(user)) for user in node.users if _name(user) == "reshape"}
        if len(shapes) != 1 or any(_name(user) != "reshape" for user in node.users):
            continue
        (shape,) = shapes
        stored = program.state_dict[key]
        changed = stored.detach().reshape(shape)
        is_parameter = isinstance(stored, torch.nn.Parameter)
        program.state_dict[key] = (
            torch.nn.Parameter(changed, requires_grad=False) if is_parameter else changed
        )
        node.meta["val"] = next(iter(node.users)).meta["val"]
        for user in list(node.users):
            user.replace_all_uses_with(node)
            graph.erase_node(user)


def _reshape(graph: fx.Graph, source: Any, shape: Sequence[int], like: fx.Node) -> fx.Node:
    assert isinstance(source, fx.Node)
    if _shape(source) == list(shape):
        return source
    return insert(graph, aten.reshape.default, (source, list(shape)), like)


def _name(node: fx.Node) -> str:
    return base_name(node.target)


def _source(node: fx.Node) -> fx.Node:
    source = node.args[0]
    assert isinstance(source, fx.Node)
    return source


def _ints(values: Any) -> list[int]:
    return [int(v) for v in values]


def _shape(node: fx.Node) -> list[int]:
    return list(node.meta["val"].shape)


def _rank(node: fx.Node) -> int:
    value = node.meta.get("val")
    return value.dim() if isinstance(value, Tensor) else 0
