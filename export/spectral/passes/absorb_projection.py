"""Drops linear preparation of a spectrum that the following transform undoes anyway.

Careful networks project a learned half spectrum onto a valid one before ``irfft``: flips, rolls, slices and
concatenations over the whole spectrum, several times the work of the transform itself. The transform to a
real signal contains that projection (its sine rows of columns 0 and N/2 are zero), so the preparation can go.

Precondition, checked for every site on its own: the operators between a complex value ``z`` and the transform
are linear over the reals and depend on nothing but ``z``. Then ``transform(prepare(z))`` and ``transform(z)``
are linear maps, and two linear maps that agree on a random vector agree everywhere (with probability one), so
one float64 probe decides.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from ...aten import base_name
from ..graph import arguments, compute, meta_value, shape_of
from ..sites import is_transform

CUT = {"slice", "narrow", "select", "split", "split_with_sizes", "slice_scatter", "select_scatter"}
MOVED = {"cat", "stack", "flip", "roll", "fft_fftshift", "fft_ifftshift", "permute", "transpose"}
RESHAPED = {"view", "reshape", "unsqueeze", "squeeze", "clone"}
COMBINED = {"neg", "conj", "_conj", "resolve_conj", "add", "sub", "mul", "div"}
LINEAR = CUT | MOVED | RESHAPED | COMBINED
LARGEST_REGION = 64
AGREEMENT = 1e-11


def absorb_preparation(graph: fx.Graph) -> list[str]:
    """Rewire every transform past preparation it makes redundant; returns the names of those changed."""
    changed = []
    for node in list(graph.nodes):
        if node.op != "call_function" or not is_transform(str(node.target)):
            continue
        source = _redundant_from(node)
        if source is not None:
            node.replace_input_with(arguments(node)[0], source)
            changed.append(node.name)
    if changed:
        graph.eliminate_dead_code()
    return changed


def _redundant_from(transform: fx.Node) -> fx.Node | None:
    """The earliest value that gives the same transform, or ``None``."""
    start: fx.Node = arguments(transform)[0]
    wanted = meta_value(start)
    order = {node: index for index, node in enumerate(transform.graph.nodes)}
    frontier, region = {start}, set[fx.Node]()
    redundant = None
    while len(region) < LARGEST_REGION:
        latest = max(frontier, key=lambda n: order[n])
        if not _is_linear(latest):
            return redundant
        frontier.remove(latest)
        region.add(latest)
        frontier.update(latest.all_input_nodes)
        if len(frontier) != 1:
            continue
        (candidate,) = frontier
        value = candidate.meta.get("val")
        if not isinstance(value, Tensor) or value.shape != wanted.shape or value.dtype != wanted.dtype:
            continue
        if not _agrees(transform, candidate, sorted(region, key=lambda n: order[n])):
            return redundant
        redundant = candidate
    return redundant


def _is_linear(node: fx.Node) -> bool:
    if node.op != "call_function":
        return False
    if getattr(node.target, "__name__", "") == "getitem":
        return True
    name = base_name(node.target)
    if name not in LINEAR:
        return False
    if name in ("mul", "div"):  # by a number only
        return len(node.all_input_nodes) == 1 and not isinstance(node.args[1], fx.Node)
    if name in ("add", "sub"):  # of two values, not of a constant
        return all(isinstance(arg, fx.Node) for arg in node.args[:2])
    return True


def _agrees(transform: fx.Node, source: fx.Node, region: list[fx.Node]) -> bool:
    generator = torch.Generator().manual_seed(0)
    dtype = torch.complex128 if meta_value(source).dtype.is_complex else torch.float64
    probe = torch.randn(shape_of(source), dtype=dtype, generator=generator)
    values: dict[fx.Node, Any] = {source: probe}
    for node in region:
        values[node] = compute(node, values)
    prepared = compute(transform, values)
    plain = compute(transform, {arguments(transform)[0]: probe})
    return bool((prepared - plain).abs().max() <= AGREEMENT * plain.abs().max())
