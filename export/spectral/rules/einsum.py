"""Einsum as one batched matrix product with as few transposes of the data as the equation allows.

Converters turn an einsum into permutes around a product, often of the whole feature map. Where the output's
order is ``[batch] [indices of one operand] [indices of the other]``, no permute of the result is needed at
all; indices of one operand that come first in the output are treated as batch, the other operand broadcasting
over them.
"""

from __future__ import annotations

import math
import string
from itertools import permutations

import torch
from torch import Tensor


def contract(equation: str, operands: list[Tensor]) -> Tensor:
    """``torch.einsum`` as matrix products, sums and permutes: converters get some equations wrong."""
    terms, out = named_axes(equation, [operand.dim() for operand in operands])
    operands = list(operands)
    for index, term in enumerate(terms):
        terms[index], operands[index] = _without_repeats(term, operands[index])
    while len(operands) > 2:  # two at a time, keeping what later ones or the output need
        needed = set(out).union(*terms[2:])
        between = "".join(i for i in dict.fromkeys(terms[0] + terms[1]) if i in needed)
        operands[:2] = [_two(terms[0], terms[1], between, operands[0], operands[1])]
        terms[:2] = [between]
    if len(operands) == 2:
        return _two(terms[0], terms[1], out, operands[0], operands[1])
    return _ordered(*_summed(terms[0], operands[0], set(out)), out)


def named_axes(equation: str, ranks: list[int]) -> tuple[list[str], str]:
    """(the indices of each operand, those of the result), letters in place of an ellipsis, output spelled."""
    plain = equation.replace(" ", "")
    inputs, arrow, out = plain.partition("->")
    terms = inputs.split(",")
    free = [letter for letter in string.ascii_letters if letter not in plain]
    missing = [rank - len(term.replace("...", "")) for term, rank in zip(terms, ranks, strict=True)]
    longest = max((n for n, term in zip(missing, terms, strict=True) if "..." in term), default=0)
    letters = "".join(free[:longest])
    if not arrow:
        once = sorted(c for c in set(inputs) - set(",.") if inputs.count(c) == 1)
        out = ("..." if "..." in inputs else "") + "".join(once)
    spelled = [
        term.replace("...", letters[longest - n :]) for term, n in zip(terms, missing, strict=True)
    ]  # aligned at the right, as broadcasting is
    return spelled, out.replace("...", letters)


def _two(left: str, right: str, out: str, a: Tensor, b: Tensor) -> Tensor:
    """Two operands, neither with an index twice."""
    left, a = _summed(left, a, set(right) | set(out))
    right, b = _summed(right, b, set(left) | set(out))
    a, b = _same_sizes(left, right, a, b)
    shared = set(left) & set(right)
    summed = [i for i in left if i in shared and i not in out]
    if not summed:
        return _lined_up(left, a, out) * _lined_up(right, b, out)
    terms = [(left, a), (right, b)]
    sizes = {index: size for term, value in terms for index, size in zip(term, value.shape, strict=True)}
    for (first, x), (second, y) in permutations(terms):
        dims = _product_order(first, second, out, shared)
        if dims is not None:
            batch, rows, columns = dims
            from_left = _view(x, first, batch, rows, summed, sizes)
            product = from_left @ _view(y, second, batch, summed, columns, sizes)
            return product.reshape([sizes[i] for i in out])
    batch = [i for i in out if i in shared]
    rows = [i for i in out if i in left and i not in shared]
    columns = [i for i in out if i in right and i not in shared]
    product = _view(a, left, batch, rows, summed, sizes) @ _view(b, right, batch, summed, columns, sizes)
    order = [*batch, *rows, *columns]
    return _ordered("".join(order), product.reshape([sizes[i] for i in order]), out)


def _without_repeats(term: str, value: Tensor) -> tuple[str, Tensor]:
    """An index that an operand has twice, as the diagonal of the two axes."""
    for index in dict.fromkeys(term):
        while term.count(index) > 1:
            first, second = term.index(index), term.rindex(index)
            value = torch.diagonal(value, 0, first, second)
            term = term[:first] + term[first + 1 : second] + term[second + 1 :] + index
    return term, value


def _summed(term: str, value: Tensor, needed: set[str]) -> tuple[str, Tensor]:
    """Indices that nothing else has are summed at once."""
    alone = [position for position, index in enumerate(term) if index not in needed]
    if not alone:
        return term, value
    return "".join(i for i in term if i in needed), value.sum(alone)


def _same_sizes(left: str, right: str, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """An index of size 1 in one operand broadcasts over the other's."""
    sizes = dict(zip(left, a.shape, strict=True))
    for index, size in zip(right, b.shape, strict=True):
        sizes[index] = max(size, sizes.get(index, 1))
    if any(sizes[i] == 0 for i in sizes):
        return a, b
    wide_a, wide_b = [sizes[i] for i in left], [sizes[i] for i in right]
    return (
        a if list(a.shape) == wide_a else a.expand(wide_a),
        b if list(b.shape) == wide_b else b.expand(wide_b),
    )


def _lined_up(term: str, value: Tensor, out: str) -> Tensor:
    """Axes in the order of the result, 1 where it has an index that the operand does not."""
    order = "".join(i for i in out if i in term)
    value = _ordered(term, value, order)
    sizes = dict(zip(order, value.shape, strict=True))
    return value.reshape([sizes.get(i, 1) for i in out])


def _ordered(term: str, value: Tensor, out: str) -> Tensor:
    return value if term == out else value.permute([term.index(i) for i in out])


def tensordot(a: Tensor, b: Tensor, dims_a: list[int], dims_b: list[int]) -> Tensor:
    """``torch.tensordot`` as one matrix product."""
    left = list(string.ascii_letters[: a.dim()])
    right = list(string.ascii_letters[a.dim() : a.dim() + b.dim()])
    for i, j in zip(dims_a, dims_b, strict=True):
        right[j] = left[i]
    contracted = {left[i] for i in dims_a}
    out = [i for i in left if i not in contracted] + [i for i in right if i not in contracted]
    return contract(f"{''.join(left)},{''.join(right)}->{''.join(out)}", [a, b])


def _product_order(
    first: str, second: str, out: str, shared: set[str]
) -> tuple[list[str], list[str], list[str]] | None:
    """``out`` as batch, indices of ``first`` alone, and of ``second`` alone; ``None`` if it mixes them."""
    columns: list[str] = []
    rest = list(out)
    while rest and rest[-1] in second and rest[-1] not in shared:
        columns.insert(0, rest.pop())
    rows: list[str] = []
    while rest and rest[-1] in first and rest[-1] not in shared:
        rows.insert(0, rest.pop())
    if not columns or not rows:
        return None
    return rest, rows, columns


def _view(
    value: Tensor, indices: str, batch: list[str], rows: list[str], columns: list[str], sizes: dict[str, int]
) -> Tensor:
    """[batch..., prod(rows), prod(columns)], with 1 for a batch index the operand does not have."""
    order = [i for i in batch if i in indices] + rows + columns
    if order != list(indices):
        value = value.permute([indices.index(i) for i in order])
    lead = [sizes[i] if i in indices else 1 for i in batch]
    return value.reshape(*lead, math.prod(sizes[i] for i in rows), math.prod(sizes[i] for i in columns))
