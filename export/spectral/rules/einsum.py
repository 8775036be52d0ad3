"""Einsum as one batched matrix product with as few transposes of the data as the equation allows.

Converters turn an einsum into permutes around a product, often of the whole feature map. Where the output's
order is ``[batch] [indices of one operand] [indices of the other]``, no permute of the result is needed at
all; indices of one operand that come first in the output are treated as batch, the other operand broadcasting
over them.
"""

from __future__ import annotations

import math
from itertools import permutations

import torch
from torch import Tensor


def contract(equation: str, operands: list[Tensor]) -> Tensor:
    """``torch.einsum``; two operands without repeated or summed-alone indices become a single product."""
    equation = equation.replace(" ", "")
    if len(operands) != 2 or "->" not in equation or "." in equation:
        return torch.einsum(equation, *operands)
    inputs, out = equation.split("->")
    left, right = inputs.split(",")
    if any(len(set(term)) != len(term) for term in (left, right, out)):
        return torch.einsum(equation, *operands)
    shared = set(left) & set(right)
    summed = [i for i in left if i in shared and i not in out]
    if not summed or any(i not in shared and i not in out for i in left + right):
        return torch.einsum(equation, *operands)
    terms = [(left, operands[0]), (right, operands[1])]
    sizes = {index: size for term, value in terms for index, size in zip(term, value.shape, strict=True)}
    for (first, a), (second, b) in permutations(terms):
        found = _product_order(first, second, out, shared)
        if found is not None:
            batch, rows, columns = found
            from_left = _view(a, first, batch, rows, summed, sizes)
            product = from_left @ _view(b, second, batch, summed, columns, sizes)
            return product.reshape([sizes[i] for i in out])
    return torch.einsum(equation, *operands)


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
