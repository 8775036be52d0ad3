"""Writes into slices, which arrive functionalised, as concatenations that every converter takes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..pairs import Pair, promote
from .registry import Context, complex_rule, real_rule


def _slice_scatter(
    base: Tensor,
    source: Tensor,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Tensor:
    length = base.shape[dim]
    first, last, _ = slice(start, end).indices(length)
    if step != 1:
        return torch.slice_scatter(base, source, dim, start, end, step)
    pieces = [base.narrow(dim, 0, first), source, base.narrow(dim, last, length - last)]
    pieces = [piece for piece in pieces if piece.shape[dim] > 0]
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim)


def _select_scatter(base: Tensor, source: Tensor, dim: int, index: int) -> Tensor:
    index %= base.shape[dim]
    return _slice_scatter(base, source.unsqueeze(dim), dim, index, index + 1)


@complex_rule("slice_scatter")
def _complex_slice_scatter(context: Context, base: Any, source: Any, *args: Any, **kwargs: Any) -> Pair:
    base, source = promote(base), promote(source)
    return Pair(
        _slice_scatter(base.re, source.re, *args, **kwargs),
        _slice_scatter(base.im, source.im, *args, **kwargs),
    )


@real_rule("slice_scatter")
def _real_slice_scatter(context: Context, base: Tensor, source: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return _slice_scatter(base, source, *args, **kwargs)


@complex_rule("select_scatter")
def _complex_select_scatter(context: Context, base: Any, source: Any, dim: int, index: int) -> Pair:
    base, source = promote(base), promote(source)
    return Pair(
        _select_scatter(base.re, source.re, dim, index), _select_scatter(base.im, source.im, dim, index)
    )


@real_rule("select_scatter")
def _real_select_scatter(context: Context, base: Tensor, source: Tensor, dim: int, index: int) -> Tensor:
    return _select_scatter(base, source, dim, index)


@complex_rule("fill")
def _complex_fill(context: Context, base: Pair, value: Any) -> Pair:
    filled = promote(value, like=base)
    return filled.map(lambda part: part.expand(context.produced.shape))


@complex_rule("copy")
def _complex_copy(context: Context, base: Any, source: Any, *args: Any) -> Any:
    if not context.produced.dtype.is_complex:
        return source.re.to(context.produced.dtype).expand(context.produced.shape)
    return promote(source).map(lambda part: part.to(context.real_dtype).expand(context.produced.shape))


@real_rule("copy")
def _real_copy(context: Context, base: Tensor, source: Tensor, *args: Any) -> Tensor:
    return source.to(base.dtype).expand(base.shape)
