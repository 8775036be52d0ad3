"""Operators that differ from others only in the memory of the result, and reads by place in memory."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ....runtime.errors import UnsupportedOperatorError
from ..graph import arguments, meta_value, where
from ..pairs import REAL_OF, Interleaved, Pair
from .registry import Context, complex_rule, real_rule

_COPIES = ["alias", "detach", "diagonal", "expand", "narrow", "permute", "select", "slice", "split", "t"]
_COPIES += ["split_with_sizes", "squeeze", "transpose", "unbind", "unsqueeze", "view"]
_UNSAFE = ["split", "split_with_sizes", "chunk"]
BASES = {**{f"{name}_copy": name for name in _COPIES}, **{f"unsafe_{name}": name for name in _UNSAFE}}


@complex_rule(*BASES)
@real_rule(*BASES)
def _copy(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
    _, name, overload = str(context.operator).split(".")
    base = BASES[name]
    if base == "view":
        shape = list(context.produced.shape)
        if overload == "dtype":
            return _reinterpret(context, value)
        return value.map(lambda p: p.reshape(shape)) if isinstance(value, Pair) else value.reshape(shape)
    if base in ("alias", "detach"):
        return value
    operator = getattr(getattr(torch.ops.aten, base), overload)
    if not isinstance(value, Pair):
        return operator(value, *args, **kwargs)
    re, im = operator(value.re, *args, **kwargs), operator(value.im, *args, **kwargs)
    return Pair(re, im) if isinstance(re, Tensor) else [Pair(r, i) for r, i in zip(re, im, strict=True)]


@complex_rule("view.dtype")
def _complex_view(context: Context, value: Any, dtype: torch.dtype) -> Any:
    return _reinterpret(context, value)


def _reinterpret(context: Context, value: Any) -> Any:
    """Complex numbers as twice as many real ones, or the other way round."""
    produced = context.produced
    if isinstance(value, Pair):
        if produced.dtype is REAL_OF_PARTS.get(value.re.dtype):
            return value
        if produced.dtype is value.re.dtype:
            return Interleaved(value).materialize().reshape(produced.shape)
    elif REAL_OF.get(produced.dtype) is value.dtype:
        twos = value.reshape(*produced.shape, 2)
        return Pair(twos.select(-1, 0), twos.select(-1, 1))
    raise UnsupportedOperatorError(
        f"{context.operator} in {where(context.node)} reads the bits of one dtype as {produced.dtype}, "
        "which no real arithmetic does; convert with .to() or take real and imaginary parts"
    )


REAL_OF_PARTS = {real: whole for whole, real in REAL_OF.items()}


@complex_rule("as_strided", "as_strided_copy")
@real_rule("as_strided", "as_strided_copy")
def _as_strided(context: Context, value: Any, size: Any, stride: Any, offset: Any = None) -> Any:
    """Elements by their place in memory, gathered: a lowered value may lie in memory in another order."""
    source = meta_value(arguments(context.node)[0])
    if not source.is_contiguous() or (source.storage_offset() and offset is None):
        raise UnsupportedOperatorError(
            f"{context.operator} in {where(context.node)} reads a tensor by its place in memory, which "
            "is not that of a contiguous tensor; use indexing, unfold or permute"
        )

    def places() -> Any:
        steps = [range(0, n * s, s) if s else [0] * n for n, s in zip(size, stride, strict=True)]
        return np.array([sum(place) for place in itertools.product(*steps)], np.int64) + (offset or 0)

    key = f"places_{'x'.join(map(str, size))}_{'x'.join(map(str, stride))}_{offset or 0}"
    index = context.bank.get(key, places, torch.int64)

    def gather(part: Tensor) -> Tensor:
        return part.reshape(-1).index_select(0, index).reshape(list(size))

    return value.map(gather) if isinstance(value, Pair) else gather(value)


@complex_rule("take")
def _take(context: Context, z: Pair, index: Tensor) -> Pair:
    flat = index.reshape(-1)
    return z.map(lambda part: part.reshape(-1).index_select(0, flat % part.numel()).reshape(index.shape))


@complex_rule("index_fill")
def _index_fill(context: Context, z: Pair, dim: int, index: Tensor, value: Any) -> Pair:
    fill = torch.ops.aten.index_fill
    if isinstance(value, Tensor | Pair):
        re, im = (value.re, value.im) if isinstance(value, Pair) else (value, torch.zeros_like(value))
        re, im = re.to(z.re.dtype), im.to(z.re.dtype)
        return Pair(fill.int_Tensor(z.re, dim, index, re), fill.int_Tensor(z.im, dim, index, im))
    number = complex(value)
    return Pair(
        fill.int_Scalar(z.re, dim, index, number.real), fill.int_Scalar(z.im, dim, index, number.imag)
    )


@complex_rule("_unsafe_masked_index")
def _masked_index(context: Context, z: Pair, mask: Tensor, indices: Any, fill: Any) -> Pair:
    number = complex(fill)
    return Pair(
        context.operator(z.re, mask, indices, number.real), context.operator(z.im, mask, indices, number.imag)
    )
