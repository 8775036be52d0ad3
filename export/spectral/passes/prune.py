"""Modes that nothing reads are not computed, and modes that are zero are not transformed back.

A neural operator keeps a few low modes: it slices them out of a whole spectrum and writes them into zeros
before the way back. Both transforms shrink to the kept modes: their matrices have those rows and columns
alone, and neither the whole spectrum nor the zeros exist any more.

Before a transform, writes into slices, slices, copies and zeros are followed to what is not zero. After it,
slices are followed to what is read. Anything else counts as whole.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, TypeAlias

import torch
from torch import Tensor, fx

from ..graph import SITE_NAME, arguments, meta_value, module_path, shape_of, site_name
from ..sites import Axis, Site, describe, is_transform

aten = torch.ops.aten
Places: TypeAlias = "tuple[tuple[int, ...], ...]"  # for each dimension, the indices in order

_ZEROS = {"aten.zeros.default", "aten.zeros_like.default", "aten.new_zeros.default"}
_COPIES = {"aten.clone.default", "aten.contiguous.default", "aten.alias.default"}


@dataclass(frozen=True, eq=False)
class Pruned:
    """A transform of which some places enter and some leave; a call computes it from the whole one."""

    operator: str
    function: Any
    arguments: tuple[Any, ...]
    shape: tuple[int, ...]
    is_real: bool
    entering: dict[int, tuple[int, ...]] = field(default_factory=dict)
    leaving: dict[int, tuple[int, ...]] = field(default_factory=dict)

    @property
    def __name__(self) -> str:
        """What nodes are called after."""
        return f"pruned_{self.operator.split('.')[1].lstrip('_')}"

    def site(self, name: str, path: str) -> Site:
        """The site with the places it has on each axis."""
        whole = describe(name, path, self.operator, self.shape, self.is_real, self.arguments)
        shape = [len(self.entering.get(d, range(n))) for d, n in enumerate(self.shape)]
        axes = tuple(self._axis(axis) for axis in whole.axes)
        return dataclasses.replace(whole, input_shape=tuple(shape), axes=axes)

    def _axis(self, axis: Axis) -> Axis:
        entering, leaving = self.entering.get(axis.dim), self.leaving.get(axis.dim)
        return dataclasses.replace(
            axis,
            taken=axis.taken if entering is None else len(entering),
            kept=axis.kept if leaving is None else len(leaving),
            entering=entering,
            leaving=leaving,
        )

    def __call__(self, value: Tensor) -> Tensor:
        """The places that leave, the rest of the input being zero."""
        for dim, places in self.entering.items():
            shape = list(value.shape)
            shape[dim] = self.shape[dim]
            whole = value.new_zeros(shape)
            value = whole.index_copy(dim, torch.tensor(places, device=value.device), value)
        result: Tensor = self.function(value, *self.arguments)
        for dim, places in self.leaving.items():
            result = result.index_select(dim, torch.tensor(places, device=result.device))
        return result


def prune(graph: fx.Graph) -> list[str]:
    """Shrink every transform that can be; returns the names of those that were replaced."""
    changed = []
    sites = [node for node in graph.nodes if node.op == "call_function" and is_transform(str(node.target))]
    for node in reversed(sites):  # the way back first: what wrote its zeros is dead then, and reads nothing
        if node.users and _shrink(graph, node):  # a dead one fed only what was written over
            changed.append(node.name)
            graph.eliminate_dead_code()
    return changed


def _shrink(graph: fx.Graph, node: fx.Node) -> bool:
    source, *rest = arguments(node)
    shape, value = shape_of(source), meta_value(source)
    site = describe(
        node.name, module_path(node), str(node.target), shape, not value.is_complex(), tuple(rest)
    )
    dims = {axis.dim: axis for axis in site.axes}
    entering = {
        dim: tuple(i for i in places if i < dims[dim].taken)
        for dim, places in enumerate(_support(source))
        if dim in dims and len(places) < dims[dim].taken
    }
    ends = _read_after(node)
    leaving: dict[int, tuple[int, ...]] = {}
    if ends:
        for dim in dims:
            read = sorted({i for _, places in ends for i in places[dim]})
            if 0 < len(read) < shape_of(node)[dim]:
                leaving[dim] = tuple(read)
    entering = {dim: places for dim, places in entering.items() if places}
    if not entering and not leaving:
        return False
    target = Pruned(
        str(node.target), node.target, tuple(rest), shape, not value.is_complex(), entering, leaving
    )
    with graph.inserting_before(node):
        inner = source
        if entering:
            inner = _restrict(
                graph, source, tuple(entering.get(d, tuple(range(n))) for d, n in enumerate(shape))
            )
        pruned = _emit(graph, target, (inner,), node)
        pruned.meta[SITE_NAME] = site_name(node)
        if not leaving:
            node.replace_all_uses_with(pruned)
            return True
    for end, places in ends:
        with graph.inserting_before(end):
            shorter = pruned
            for dim, wanted in enumerate(places):
                held = leaving.get(dim, tuple(range(shape_of(node)[dim])))
                if len(wanted) < len(held):
                    start = held.index(wanted[0])
                    shorter = _emit(graph, aten.slice.Tensor, (shorter, dim, start, start + len(wanted)), end)
            end.replace_all_uses_with(shorter)
    return True


def _whole(node: fx.Node) -> list[tuple[int, ...]]:
    return [tuple(range(n)) for n in shape_of(node)]


def _slice(node: fx.Node) -> tuple[Any, int, int, int] | None:
    """(source, dimension, first, last + 1) of a slice, or of a write into one; ``None`` for a step."""
    scatter = str(node.target) == "aten.slice_scatter.default"
    values = arguments(node)
    source, (dim, start, end, step) = values[0], values[2:] if scatter else values[1:]
    if step != 1:
        return None
    dim %= len(shape_of(source))
    first, last, _ = slice(start, end).indices(shape_of(source)[dim])
    return source, dim, first, max(first, last)


def _read_after(node: fx.Node) -> list[tuple[fx.Node, list[tuple[int, ...]]]]:
    """The last slices of all chains of slices after a node, and what each holds; empty: all is read."""
    ends = []
    queue = [(user, _whole(node)) for user in node.users]
    while queue:
        user, places = queue.pop()
        cut = _slice(user) if str(user.target) == "aten.slice.Tensor" else None
        if cut is None:
            return []
        _, dim, first, last = cut
        places = [p[first:last] if d == dim else p for d, p in enumerate(places)]
        further = [u for u in user.users if str(u.target) == "aten.slice.Tensor"]
        if further and len(further) == len(user.users):
            queue += [(u, places) for u in further]
        else:
            ends.append((user, places))
    return ends if all(p for _, places in ends for p in places) else []


def _support(node: Any) -> list[tuple[int, ...]]:
    """Places along each dimension beyond which a value is zero."""
    name = str(node.target)
    if name in _ZEROS:
        return [() for _ in shape_of(node)]
    if name in _COPIES:
        return _support(arguments(node)[0])
    if name == "aten.slice_scatter.default" and (cut := _slice(node)) is not None:
        base, dim, first, _ = cut
        written = _support(arguments(node)[1])
        written[dim] = tuple(i + first for i in written[dim])
        return [tuple(sorted({*a, *b})) for a, b in zip(_support(base), written, strict=True)]
    if name == "aten.slice.Tensor" and (cut := _slice(node)) is not None:
        source, dim, first, last = cut
        support = _support(source)
        support[dim] = tuple(i - first for i in support[dim] if first <= i < last)
        return support
    return _whole(node)


def _restrict(graph: fx.Graph, node: Any, places: Places) -> fx.Node:
    """A node that holds these places of a value, made without what is zero where that can be."""
    if str(node.target) == "aten.copy.default" and _same_form(node, arguments(node)[1]):
        return _restrict(graph, arguments(node)[1], places)  # what is written over is not read
    if all(len(p) == n for p, n in zip(places, shape_of(node), strict=True)):
        whole: fx.Node = node
        return whole
    name = str(node.target)
    if name in _COPIES:
        return _restrict(graph, arguments(node)[0], places)
    if name in _ZEROS:
        value = meta_value(node)
        options = {"dtype": value.dtype, "device": value.device}
        return _emit(graph, aten.zeros.default, ([len(p) for p in places],), node, options)
    if name == "aten.slice_scatter.default" and (cut := _slice(node)) is not None:
        base, dim, first, last = cut
        parts = []
        for inside, run in groupby(places[dim], lambda i: first <= i < last):
            here = tuple(i - first if inside else i for i in run)
            cell = tuple(here if d == dim else p for d, p in enumerate(places))
            parts.append(_restrict(graph, arguments(node)[1] if inside else base, cell))
        return parts[0] if len(parts) == 1 else _emit(graph, aten.cat.default, (parts, dim), node)
    if name == "aten.slice.Tensor" and (cut := _slice(node)) is not None:
        source, dim, first, _ = cut
        moved = tuple(tuple(i + first for i in p) if d == dim else p for d, p in enumerate(places))
        return _restrict(graph, source, moved)
    kept: fx.Node = node
    for dim, wanted in enumerate(places):
        if len(wanted) < shape_of(kept)[dim]:
            runs = [
                [i for _, i in run] for _, run in groupby(enumerate(wanted), lambda pair: pair[1] - pair[0])
            ]
            pieces = [_emit(graph, aten.slice.Tensor, (kept, dim, r[0], r[-1] + 1), node) for r in runs]
            kept = pieces[0] if len(pieces) == 1 else _emit(graph, aten.cat.default, (pieces, dim), node)
    return kept


def _same_form(a: Any, b: Any) -> bool:
    return shape_of(a) == shape_of(b) and meta_value(a).dtype == meta_value(b).dtype


def _emit(
    graph: fx.Graph, target: Any, args: Any, like: fx.Node, options: dict[str, Any] | None = None
) -> fx.Node:
    node = graph.call_function(target, args, options or {})
    node.meta = dict(like.meta)
    values = fx.map_arg(args, lambda n: n.meta["val"])
    with torch.no_grad(), like.meta["val"].fake_mode:
        node.meta["val"] = target(*values, **(options or {}))
    return node
