"""Complex tensors made from nothing: zeros, ones, full, and their ``_like`` and ``new_`` forms."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..pairs import Pair
from .registry import Context, complex_rule


def _filled(context: Context, number: complex) -> Pair | Tensor:
    shape = list(context.produced.shape)
    if not context.produced.dtype.is_complex:  # of a complex tensor, as in z.new_full((2,), 1, dtype=float)
        return torch.full(shape, number.real, dtype=context.produced.dtype)
    dtype = context.real_dtype
    return Pair(torch.full(shape, number.real, dtype=dtype), torch.full(shape, number.imag, dtype=dtype))


@complex_rule(
    "zeros",
    "zeros_like",
    "zero",
    "new_zeros",
    "empty",
    "empty_like",
    "new_empty",
    "empty_permuted",
    "empty_strided",
)
def _zeros(context: Context, *args: Any, **kwargs: Any) -> Pair | Tensor:
    return _filled(context, 0)


@complex_rule("ones", "ones_like", "new_ones")
def _ones(context: Context, *args: Any, **kwargs: Any) -> Pair | Tensor:
    return _filled(context, 1)


@complex_rule("full", "full_like", "new_full")
def _full(context: Context, first: Any, *args: Any, **kwargs: Any) -> Pair | Tensor:
    is_new = "new_full" in str(context.operator)
    return _filled(context, complex(args[1] if is_new else args[0]))


@complex_rule("scalar_tensor")
def _scalar(context: Context, number: Any, **kwargs: Any) -> Pair | Tensor:
    return _filled(context, complex(number))
