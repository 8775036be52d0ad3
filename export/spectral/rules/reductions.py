"""Variances and running products of complex values."""

from __future__ import annotations

from functools import reduce
from typing import Any

import torch
from torch import Tensor

from ..pairs import Pair, multiply, promote
from .functions import log_of_sum
from .registry import Context, complex_rule


@complex_rule("var", "std")
def _variance(context: Context, z: Pair, *args: Any, **kwargs: Any) -> Tensor:
    # The variance of a complex value is that of its real part plus that of its imaginary part.
    operator = str(context.operator)
    variance = getattr(torch.ops.aten.var, operator.split(".")[2])
    total: Tensor = variance(z.re, *args, **kwargs) + variance(z.im, *args, **kwargs)
    return torch.sqrt(total) if operator.startswith("aten.std") else total


@complex_rule("var_mean", "std_mean")
def _variance_and_mean(context: Context, z: Pair, *args: Any, **kwargs: Any) -> tuple[Tensor, Pair]:
    operator = str(context.operator)
    both = getattr(torch.ops.aten.var_mean, operator.split(".")[2])
    (re_variance, re_mean), (im_variance, im_mean) = both(z.re, *args, **kwargs), both(z.im, *args, **kwargs)
    total = re_variance + im_variance
    return torch.sqrt(total) if operator.startswith("aten.std") else total, Pair(re_mean, im_mean)


@complex_rule("cumprod")
def _running_product(context: Context, z: Any, dim: int, **kwargs: Any) -> Pair:
    pair = promote(z).map(lambda part: part.to(context.real_dtype))
    if pair.re.dim() == 0 or pair.re.shape[dim] == 0:
        return pair
    products = [Pair(pair.re.select(dim, 0), pair.im.select(dim, 0))]
    for index in range(1, pair.re.shape[dim]):
        products.append(multiply(products[-1], Pair(pair.re.select(dim, index), pair.im.select(dim, index))))
    return Pair(torch.stack([f.re for f in products], dim), torch.stack([f.im for f in products], dim))


@complex_rule("prod")
def _product(context: Context, z: Any, dim: int | None = None, keepdim: bool = False, **kwargs: Any) -> Pair:
    pair = promote(z).map(lambda part: part.to(context.real_dtype))
    flat = pair.map(lambda part: part.reshape(-1)) if dim is None or pair.re.dim() == 0 else pair
    axis = 0 if dim is None else dim
    count = flat.re.shape[axis]
    if count == 0:
        shape = list(context.produced.shape)
        return Pair(flat.re.new_ones(shape), flat.re.new_zeros(shape))
    factors = [Pair(flat.re.select(axis, i), flat.im.select(axis, i)) for i in range(count)]
    result: Pair = reduce(multiply, factors)
    return result.map(lambda part: part.reshape(context.produced.shape))


@complex_rule("logcumsumexp")
def _running_log_of_sum(context: Context, z: Pair, dim: int) -> Pair:
    if z.re.dim() == 0 or z.re.shape[dim] == 0:
        return z
    steps = [Pair(z.re.select(dim, i), z.im.select(dim, i)) for i in range(z.re.shape[dim])]
    logs = steps[:1]
    for step in steps[1:]:
        logs.append(log_of_sum(logs[-1], step))
    return Pair(torch.stack([f.re for f in logs], dim), torch.stack([f.im for f in logs], dim))
