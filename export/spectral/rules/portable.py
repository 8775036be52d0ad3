"""Operators that some converter lacks or gets wrong, written with ones that all of them take."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..pairs import Pair, arc_tangent, phase
from .registry import Context, complex_rule, real_rule


@real_rule("atan2")
def _atan2(context: Context, im: Tensor, re: Tensor) -> Tensor:
    # torch's ONNX exporter writes atan2(0, negative) as -pi, and atan2(0, 0) as not-a-number.
    return phase(im, re)


@real_rule("angle")
def _real_angle(context: Context, x: Tensor) -> Tensor:
    return torch.where(x < 0, torch.full_like(x, math.pi), torch.zeros_like(x))


def gather_frames(context: Context, value: Tensor, dim: int, size: int, step: int) -> Tensor:
    """``Tensor.unfold``: overlapping frames of one axis, gathered; their samples come last."""
    if value.dim() == 0:
        return value.reshape(1).narrow(0, 0, size)
    dim %= value.dim()
    count = (value.shape[dim] - size) // step + 1

    def indices() -> Any:
        import numpy as np

        return (np.arange(count)[:, None] * step + np.arange(size)[None]).reshape(-1)

    index = context.bank.get(f"frames_{count}_{size}_{step}", indices, torch.int64)
    picked = value.index_select(dim, index)
    split = picked.reshape(*value.shape[:dim], count, size, *value.shape[dim + 1 :])
    order = [a for a in range(split.dim()) if a != dim + 1]
    return split.permute(*order, dim + 1)


@real_rule("unfold")
def _real_unfold(context: Context, value: Tensor, dim: int, size: int, step: int) -> Tensor:
    return gather_frames(context, value, dim, size, step)


@complex_rule("unfold")
def _complex_unfold(context: Context, z: Pair, dim: int, size: int, step: int) -> Pair:
    return z.map(lambda part: gather_frames(context, part, dim, size, step))


@real_rule("conv3d.default")
def _convolution(
    context: Context, x: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any
) -> Tensor:
    # torch's ONNX exporter gives a volume's convolution without bias one of the wrong rank.
    result: Tensor = context.operator(
        x, weight, weight.new_zeros(weight.shape[0]) if bias is None else bias, *args, **kwargs
    )
    return result


def put(target: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """``torch.put`` by ``index_put`` on the flat tensor, since ONNX has the one and not the other."""
    flat = torch.ops.aten.index_put(target.reshape(-1), [index.reshape(-1)], source.reshape(-1), accumulate)
    result: Tensor = flat.reshape(target.shape)
    return result


@real_rule("put")
def _real_put(
    context: Context, target: Tensor, index: Tensor, source: Tensor, accumulate: bool = False
) -> Tensor:
    return put(target, index, source, accumulate)


@real_rule("diagonal_scatter")
def _diagonal_scatter(
    context: Context, target: Tensor, source: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> Tensor:
    # torch's own decomposition for ONNX ends in a copy in place.
    first, second = dim1 % target.dim(), dim2 % target.dim()
    length = source.shape[-1]
    shape = tuple(target.shape)

    def indices() -> Any:
        import numpy as np

        flat = np.arange(math.prod(shape)).reshape(shape)
        return np.diagonal(flat, offset, first, second).copy()

    if length == 0:
        return target
    index = context.bank.get(f"diagonal_{shape}_{offset}_{first}_{second}", indices, torch.int64)
    return put(target, index, source)


@real_rule("squeeze.dim", "squeeze.dims")
def _squeeze(context: Context, value: Tensor, dims: int | list[int]) -> Tensor:
    # Where no axis can go, torch makes a view of the whole, which the ONNX exporter does not know.
    nothing = value.dim() == 0 or dims == []
    result: Tensor = value if nothing else context.operator(value, dims)
    return result


@real_rule("tile")
def _tile(context: Context, value: Tensor, dims: list[int]) -> Tensor:
    # The exporter makes no repeats of one that a scalar is tiled by, and OpenVINO refuses that.
    result: Tensor = context.operator(value, dims) if len(dims) else value
    return result


@real_rule("hstack", "vstack")
def _stack(context: Context, values: list[Tensor]) -> Tensor:
    # The exporter writes a loop over a sequence, which only ONNX Runtime takes.
    if "hstack" in str(context.operator):
        lines = [v.reshape(1) if v.dim() == 0 else v for v in values]
        return torch.cat(lines, 0 if lines[0].dim() == 1 else 1)
    return torch.cat([v.reshape(1, -1) if v.dim() < 2 else v for v in values], 0)


@real_rule("amax", "amin")
def _extreme(context: Context, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    result: Tensor = context.operator(x, *args, **kwargs) if x.dim() else x  # a scalar has no axis in ONNX
    return result


@real_rule("atan")
def _atan(context: Context, x: Tensor) -> Tensor:
    return arc_tangent(x)


def vector_norm(x: Tensor, order: float = 2, dim: Any = None, keepdim: bool = False, **kwargs: Any) -> Tensor:
    """``torch.linalg.vector_norm``; the axis of a scalar is 0 for torch, and none for ONNX."""
    if x.dim() == 0:
        return (x != 0).to(x.dtype) if order == 0 else x.abs()
    if dim is None and keepdim:  # the exporter drops the axes here
        dim = list(range(x.dim()))
    result: Tensor = torch.ops.aten.linalg_vector_norm(x, order, dim, keepdim, **kwargs)
    return result


@real_rule("linalg_vector_norm")
def _real_norm(context: Context, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return vector_norm(x, *args, **kwargs).to(context.produced.dtype)


@real_rule("matmul", "mv", "dot")
def _product(context: Context, a: Tensor, b: Tensor) -> Tensor:
    """Products with a vector as products with a matrix of one row or column."""
    return matrix_product(a, b)


def matrix_product(a: Tensor, b: Tensor) -> Tensor:
    """``torch.matmul`` where neither operand of the product itself is a vector."""
    if a.dim() > 1 and b.dim() > 1:
        return a @ b
    left = a.unsqueeze(0) if a.dim() == 1 else a
    right = b.unsqueeze(1) if b.dim() == 1 else b
    product = left @ right
    shape = list(product.shape)
    if b.dim() == 1:
        shape.pop(-1)
    if a.dim() == 1:
        shape.pop(-1 if b.dim() == 1 else -2)
    return product.reshape(shape)
