"""Between real and complex: taking parts, putting them together, and casts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..pairs import REAL_OF, Pair, broadcast_shape, promote
from .registry import Context, complex_rule, real_rule


@complex_rule("real")
def _real(context: Context, z: Pair) -> Tensor:
    return z.re


@complex_rule("imag")
def _imag(context: Context, z: Pair) -> Tensor:
    return z.im


@complex_rule("complex")
def _complex(context: Context, re: Tensor, im: Tensor) -> Pair:
    shape = broadcast_shape(re, im)
    return Pair(re.expand(shape), im.expand(shape)) if re.shape != im.shape else Pair(re, im)


@complex_rule("_to_copy", "to", "type_as")
def _cast(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
    produced: torch.dtype = context.produced.dtype
    if produced in REAL_OF:
        z = promote(value)
        return z.map(lambda part: part.to(REAL_OF[produced]))
    # torch discards the imaginary part here (with a warning of its own at run time).
    return value.re.to(produced) if isinstance(value, Pair) else value.to(produced)


@complex_rule("_assert_tensor_metadata")
@real_rule("_assert_tensor_metadata")
def _assertion(context: Context, *args: Any, **kwargs: Any) -> None:
    """Tracing checks of the original dtype and layout, which the lowering has already settled."""
