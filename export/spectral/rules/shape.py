"""Operators that move, select, sum or pad: the same thing done to the real and to the imaginary part."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from ....runtime.errors import UnsupportedOperatorError
from ..graph import where
from ..pairs import REAL_OF, Interleaved, Pair, promote
from .registry import REAL_RULES, Context, complex_rule, find, real_rule

# Operators whose first argument alone holds values; their other arguments (masks, indices, sizes) go to both
# parts as they are.
ORDER = ["permute", "transpose", "t", "mT", "adjoint", "numpy_T", "movedim", "swapaxes", "swapdims", "rot90"]
ORDER += ["flip", "fliplr", "flipud", "pixel_shuffle", "pixel_unshuffle", "im2col"]
SHAPE = ["expand", "expand_as", "broadcast_to", "repeat", "tile", "repeat_interleave"]
SHAPE += [
    "unsqueeze",
    "squeeze",
    "cat",
    "concat",
    "concatenate",
    "stack",
    "hstack",
    "vstack",
]
CHOICE = ["slice", "select", "narrow", "split", "split_with_sizes", "chunk", "unbind", "tensor_split", "diag"]
CHOICE += ["diagonal", "diag_embed", "tril", "triu", "index", "index_select", "gather", "take_along_dim"]
SAME = ["clone", "contiguous", "alias", "detach", "detach_", "lift_fresh", "lift_fresh_copy", "identity"]
SAME += ["resolve_conj", "resolve_neg", "dropout", "feature_dropout"]
SUMS = ["sum", "nansum", "mean", "cumsum", "trace"]

# Operator -> positions of the arguments that hold values: a real tensor there is a complex one with zero
# imaginary part.
COMPONENTWISE: dict[str, tuple[int, ...]] = {
    **dict.fromkeys([*ORDER, *SHAPE, *CHOICE, *SAME, *SUMS], (0,)),
    "where": (1, 2),
    "index_put": (0, 2),
    "scatter": (0, 3),
    "scatter_add": (0, 3),
    "index_copy": (0, 3),
    "index_add": (0, 3),
    "put": (0, 2),
    "masked_scatter": (0, 2),
    "diagonal_scatter": (0, 1),
    "_unsafe_masked_index_put_accumulate": (0, 3),
}


def componentwise(context: Context, *args: Any, **kwargs: Any) -> Any:
    """Run the original operator on the real parts and on the imaginary parts."""
    name = str(context.operator).split(".")[1]
    positions = COMPONENTWISE[name]
    if kwargs.get("dtype") is not None:
        kwargs["dtype"] = REAL_OF.get(kwargs["dtype"], kwargs["dtype"])

    def part_of(which: int) -> list[Any]:
        def pick(value: Any) -> Any:
            if isinstance(value, Pair):
                return value.im if which else value.re
            if isinstance(value, Tensor) and which:
                return torch.zeros_like(value)
            if isinstance(value, int | float | complex):
                return value.imag if which else value.real
            return value

        return [
            pytree.tree_map(pick, a, is_leaf=_is_pair) if i in positions else a for i, a in enumerate(args)
        ]

    rule = find(REAL_RULES, context.operator)  # the parts are real values like any other
    operator = partial(rule, context) if rule else context.operator
    re, im = operator(*part_of(0), **kwargs), operator(*part_of(1), **kwargs)
    if isinstance(re, Tensor):
        return Pair(re, im)
    return [Pair(r, i) for r, i in zip(re, im, strict=True)]


complex_rule(*COMPONENTWISE)(componentwise)


@complex_rule("broadcast_tensors")
def _broadcast(context: Context, values: list[Pair | Tensor]) -> list[Pair | Tensor]:
    """Each value by itself: those that are real stay real."""
    shape = list(context.produced[0].shape)
    return [
        value.map(lambda part: part.expand(shape)) if isinstance(value, Pair) else value.expand(shape)
        for value in values
    ]


@complex_rule("scatter.reduce", "scatter.value_reduce")
def _scatter_reduced(context: Context, z: Pair, dim: int, index: Tensor, source: Any, *, reduce: str) -> Pair:
    if reduce == "add":
        result: Pair = componentwise(context, z, dim, index, source, reduce=reduce)
        return result
    if isinstance(source, Pair) or (isinstance(source, complex) and source.imag):
        raise UnsupportedOperatorError(
            f"{context.operator} in {where(context.node)} multiplies by complex values, each of which needs "
            "both parts; write z * factor, with a factor of 1 elsewhere"
        )
    factor = source.real if isinstance(source, complex) else source
    return z.map(lambda part: context.operator(part, dim, index, factor, reduce=reduce))


def _is_pair(value: Any) -> bool:
    return isinstance(value, Pair)


@complex_rule("view", "reshape", "_unsafe_view", "unflatten", "flatten", "view_as", "reshape_as")
def _complex_reshape(context: Context, z: Pair, *args: Any) -> Pair:
    shape = list(context.produced.shape)
    return z.map(lambda part: part.reshape(shape))


@real_rule("view.default", "_unsafe_view", "view_as")
def _real_reshape(context: Context, value: Tensor, *args: Any) -> Tensor:
    # A lowered value may lie in memory in another order than the original: a view would be refused.
    return value.reshape(list(context.produced.shape))


@complex_rule("pad")
def _complex_pad(
    context: Context, z: Pair, pad: list[int], mode: str = "constant", value: Any = None
) -> Pair:
    number = complex(value or 0)
    if mode != "constant":
        return z.map(lambda part: padded(part, pad, mode))
    return Pair(padded(z.re, pad, mode, number.real), padded(z.im, pad, mode, number.imag))


@complex_rule("constant_pad_nd")
def _complex_constant_pad(context: Context, z: Pair, pad: list[int], value: Any = 0) -> Pair:
    number = complex(value)
    operator = torch.ops.aten.constant_pad_nd.default
    return Pair(operator(z.re, pad, number.real), operator(z.im, pad, number.imag))


@real_rule("pad")
def _real_pad(context: Context, value: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return padded(value, *args, **kwargs)


def padded(value: Tensor, pad: list[int], mode: str = "constant", number: Any = None) -> Tensor:
    """``torch.nn.functional.pad``; replicated borders as slices put together.

    Some front ends turn the operator into gathers over the whole image, and ONNX Runtime refuses to cut off
    an axis and to replicate its end in one step. A border is that of the whole axis: what a negative number
    takes off goes last.
    """
    if mode != "replicate":
        return torch.nn.functional.pad(value, pad, mode, number)
    for position in range(0, len(pad), 2):
        dim, before, after = value.dim() - 1 - position // 2, pad[position], pad[position + 1]
        length = value.shape[dim] + before + after
        first, last = value.narrow(dim, 0, 1), value.narrow(dim, value.shape[dim] - 1, 1)
        if before > 0 or after > 0:
            value = torch.cat([first] * before + [value] + [last] * after, dim)
        if before < 0 or after < 0:
            value = value.narrow(dim, max(-before, 0), length)
    return value


def rotate(value: Tensor, shift: int, dim: int) -> Tensor:
    """``torch.roll`` along one axis as two slices put together, which every converter takes."""
    length = value.shape[dim]
    shift = shift % length if length else 0
    if shift == 0:
        return value
    return torch.cat([value.narrow(dim, length - shift, shift), value.narrow(dim, 0, length - shift)], dim)


def _roll(value: Tensor, shifts: Any, dims: Any = ()) -> Tensor:
    shifts = [shifts] if isinstance(shifts, int) else list(shifts)
    dims = [dims] if isinstance(dims, int) else list(dims)
    if not dims:
        return rotate(value.reshape(-1), shifts[0], 0).reshape(value.shape)
    for shift, dim in zip(shifts, dims, strict=True):
        value = rotate(value, shift, dim)
    return value


@complex_rule("roll")
def _complex_roll(context: Context, z: Pair, shifts: Any, dims: Any = ()) -> Pair:
    return z.map(lambda part: _roll(part, shifts, dims))


@real_rule("roll")
def _real_roll(context: Context, value: Tensor, shifts: Any, dims: Any = ()) -> Tensor:
    return _roll(value, shifts, dims)


def _shift(context: Context, value: Tensor, dims: Any) -> Tensor:
    inverse = "ifftshift" in str(context.operator)
    every = range(value.dim()) if dims is None else dims
    axes = [every] if isinstance(every, int) else list(every)
    for dim in axes:
        length = value.shape[dim]
        value = rotate(value, (length + 1) // 2 if inverse else length // 2, dim)
    return value


@complex_rule("fft_fftshift", "fft_ifftshift")
def _complex_shift(context: Context, z: Pair, dim: Any = None) -> Pair:
    return z.map(lambda part: _shift(context, part, dim))


@real_rule("fft_fftshift", "fft_ifftshift")
def _real_shift(context: Context, value: Tensor, dim: Any = None) -> Tensor:
    return _shift(context, value, dim)


@complex_rule("view_as_real")
def _view_as_real(context: Context, z: Pair) -> Interleaved:
    return Interleaved(z)


@complex_rule("view_as_complex")
def _view_as_complex(context: Context, value: Tensor | Interleaved) -> Pair:
    if isinstance(value, Interleaved):
        return value.pair
    return Pair(value.select(-1, 0), value.select(-1, 1))


@complex_rule("masked_fill")
def _masked_fill(context: Context, z: Any, mask: Tensor, value: Any) -> Pair:
    z = promote(z)
    filled = promote(value, like=z)
    return Pair(torch.where(mask, filled.re, z.re), torch.where(mask, filled.im, z.im))
