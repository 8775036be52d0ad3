"""Products of complex matrices and convolutions: real products combined."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..pairs import Pair, Value, add, bilinear, multiply, parts
from .einsum import contract, tensordot
from .portable import matrix_product
from .registry import Context, complex_rule, real_rule


@dataclass(frozen=True)
class Pieces:
    """What a split will return, computed piece by piece before the split is reached."""

    tensors: list[Tensor]


@complex_rule("matmul", "mm", "bmm", "mv", "dot", "vdot", "inner", "outer", "ger", "linalg_vecdot")
def _product(context: Context, a: Value, b: Value, *, dim: int = -1) -> Pair:
    if str(context.operator).split(".")[1] in ("vdot", "linalg_vecdot"):
        from ..pairs import conjugate

        a = conjugate(a) if isinstance(a, Pair) else a
    names = {
        **dict.fromkeys(("matmul", "mv", "dot", "vdot"), matrix_product),
        "linalg_vecdot": lambda x, y: (x * y).sum(dim),
    }
    function = names.get(str(context.operator).split(".")[1], context.operator)
    return bilinear(function, a, b)


@complex_rule("linear")
def _linear(context: Context, x: Value, weight: Value, bias: Value | None = None) -> Pair:
    result = bilinear(torch.nn.functional.linear, x, weight)
    return result if bias is None else add(result, bias)


@complex_rule("addmm", "baddbmm")
def _addmm(context: Context, z: Value, a: Value, b: Value, *, beta: Any = 1, alpha: Any = 1) -> Pair:
    product = bilinear(torch.matmul, a, b)
    return add(multiply(z, beta) if beta != 1 else z, product, alpha)


@complex_rule("addmv")
def _addmv(context: Context, z: Value, a: Value, b: Value, *, beta: Any = 1, alpha: Any = 1) -> Pair:
    product = bilinear(matrix_product, a, b)
    return add(multiply(z, beta) if beta != 1 else z, product, alpha)


@complex_rule("addbmm")
def _addbmm(context: Context, z: Value, a: Value, b: Value, *, beta: Any = 1, alpha: Any = 1) -> Pair:
    product = bilinear(torch.bmm, a, b).map(lambda part: part.sum(0))
    return add(multiply(z, beta) if beta != 1 else z, product, alpha)


@complex_rule(
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "convolution"
)
def _convolution(
    context: Context, x: Value, weight: Value, bias: Pair | Tensor | None = None, *args: Any
) -> Pair:
    result = bilinear(lambda a, w: context.operator(a, w, None, *args), x, weight)
    if bias is None:
        return result
    kernel: Any = parts(weight)[0]
    trailing = [1] * (kernel.dim() - 2)  # not of the result, whose batch may be absent
    if isinstance(bias, Pair):
        return add(result, bias.map(lambda part: part.reshape(-1, *trailing)))
    return add(result, bias.reshape(-1, *trailing))


@complex_rule("kron")
def _kron(context: Context, a: Value, b: Value) -> Pair:
    return bilinear(context.operator, a, b)


@complex_rule("tensordot")
def _complex_tensordot(context: Context, a: Value, b: Value, dims_a: Any, dims_b: Any) -> Pair:
    return bilinear(lambda x, y: tensordot(x, y, dims_a, dims_b), a, b)


@real_rule("tensordot")
def _real_tensordot(context: Context, a: Tensor, b: Tensor, dims_a: Any, dims_b: Any) -> Tensor:
    return tensordot(a, b, dims_a, dims_b)


@complex_rule("einsum")
def _einsum(context: Context, equation: str, operands: list[Value], path: Any = None) -> Pair:
    """Expand the multilinear form: every choice of real or imaginary parts, signed by the power of i."""
    choices = []
    for operand in operands:
        re, im = parts(operand)
        choices.append([(re, 0)] if im is None else [(re, 0), (im, 1)])
    sums: list[Tensor | None] = [None, None]
    for choice in itertools.product(*choices):
        count = sum(power for _, power in choice)
        term = contract(equation, [part for part, _ in choice])
        negative = count % 4 >= 2
        total = sums[count % 2]
        if total is None:
            sums[count % 2] = -term if negative else term
        else:
            sums[count % 2] = total - term if negative else total + term
    re_sum, im_sum = sums
    assert re_sum is not None or im_sum is not None
    shape_of = re_sum if re_sum is not None else im_sum
    assert shape_of is not None
    zero = torch.zeros_like(shape_of)
    return Pair(zero if re_sum is None else re_sum, zero if im_sum is None else im_sum)


@real_rule("einsum")
def _real_einsum(context: Context, equation: str, operands: list[Tensor], path: Any = None) -> Tensor:
    return contract(equation, operands)


@real_rule("conv2d.default")
def _convolution_in_pieces(
    context: Context, x: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any
) -> Any:
    """A convolution whose channels are split right after it, as one convolution per piece.

    Splitting channels costs a pass over the data where channels are the fastest index, as on most devices;
    slices of the stored weights cost nothing. Declined where anything but the split reads the result, in a
    grouped convolution, and where the weights are computed at run time.
    """
    whole = context.operator
    sizes = _sizes_split_after(context.node)
    groups = args[3] if len(args) > 3 else 1
    weight_node = context.node.args[1]
    if sizes is None or groups != 1 or getattr(weight_node, "op", "") != "placeholder":
        return whole(x, weight, bias, *args)
    weights = torch.split(weight, sizes, 0)
    biases = [None] * len(sizes) if bias is None else torch.split(bias, sizes, 0)
    return Pieces([whole(x, w, b, *args) for w, b in zip(weights, biases, strict=True)])


def _sizes_split_after(node: Any) -> list[int] | None:
    """Channel counts of the one split that reads a convolution's result, ``None`` if something else does."""
    if len(node.users) != 1:
        return None
    (user,) = node.users
    name = str(user.target).removeprefix("aten.").split(".")[0]
    if name not in ("split", "split_with_sizes", "chunk"):
        return None
    dim = user.args[2] if len(user.args) > 2 else user.kwargs.get("dim", 0)
    channels = node.meta["val"].dim() - 3
    if dim % node.meta["val"].dim() != channels:
        return None
    return [piece.shape[channels] for piece in user.meta["val"]]


@real_rule("split", "split_with_sizes", "chunk")
def _split(context: Context, value: Any, *args: Any, **kwargs: Any) -> Any:
    return value.tensors if isinstance(value, Pieces) else context.operator(value, *args, **kwargs)
