"""Holds what a rule returns against what torch recorded for its node; how far two results differ."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from ...runtime.errors import LoweringFaultError
from .graph import where
from .pairs import REAL_OF, Interleaved, Pair


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
    computed = pytree.tree_leaves(result, is_leaf=is_pair)
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


def is_pair(value: Any) -> bool:
    """True for a complex value, in either form."""
    return isinstance(value, Pair | Interleaved)


def relative_error(actual: Any, expected: Any, nothing: float = 0.0) -> float:
    """Largest ``max|error| / max|value|`` over all outputs; infinite where a finite value was lost.

    ``nothing``: an output whose values and errors stay below counts as right.
    """
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
        scale = float(b[finite].abs().max()) if bool(finite.any()) else 0.0
        error = float(torch.where(finite, a.to(b.dtype) - b, torch.zeros_like(b)).abs().max())
        if max(scale, error) >= nothing:
            worst = max(worst, error / max(scale, 1e-30))
    return worst
