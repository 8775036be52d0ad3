"""Small linear systems of complex matrices: Gauss-Jordan elimination written out, with row pivoting.

No edge runtime has a solver. A matrix of up to :data:`LARGEST` rows is a few dozen elementwise operators. The
pivot is the row of largest magnitude in its column, picked by arithmetic (a row of the identity at the place
of the maximum), so that the graph has no branch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ....runtime.errors import UnsupportedOperatorError
from .. import pairs
from ..graph import where
from ..pairs import Pair, Value, promote
from .registry import Context, complex_rule

LARGEST = 8


def _identity(context: Context, n: int, dtype: torch.dtype) -> Tensor:
    import numpy as np

    return context.bank.get(f"identity_{n}", lambda: np.eye(n), dtype)


def eliminate(context: Context, matrix: Pair, right: Pair) -> tuple[Pair, Pair]:
    """(``matrix⁻¹ right``, the determinant) for [..., n, n] and [..., n, k] of one batch shape."""
    n = matrix.re.shape[-1]
    if n > LARGEST:
        raise UnsupportedOperatorError(
            f"{context.operator} in {where(context.node)} solves systems of {n} rows; at most {LARGEST} can "
            "be written out in real arithmetic: invert on the host, or make the matrix a parameter or buffer"
        )
    if matrix.re.numel() == 0:
        ones = matrix.re.new_ones(matrix.re.shape[:-2])
        return right, Pair(ones, torch.zeros_like(ones))
    eye = _identity(context, n, matrix.re.dtype)
    whole = Pair(torch.cat([matrix.re, right.re], -1), torch.cat([matrix.im, right.im], -1))
    determinant = Pair(matrix.re.new_ones(matrix.re.shape[:-2]), matrix.re.new_zeros(matrix.re.shape[:-2]))
    for k in range(n):
        column = whole.map(lambda part, k=k: part[..., k])  # type: ignore[misc]
        size = pairs.squared_magnitude(column)
        allowed = torch.cat([torch.full_like(size[..., :k], -1.0), size[..., k:]], -1)
        chosen = eye[torch.argmax(allowed, -1)].unsqueeze(-1)  # [..., n, 1], one where the pivot row is
        here = eye[k].unsqueeze(-1)
        moved = chosen - here
        pivot_row = whole.map(lambda part, c=chosen: (part * c).sum(-2, keepdim=True))  # type: ignore[misc]
        this_row = whole.map(lambda part, k=k: part[..., k : k + 1, :])  # type: ignore[misc]
        # Swap: the pivot row comes here, this row goes where the pivot was.
        whole = Pair(
            whole.re + moved * this_row.re - moved * pivot_row.re,
            whole.im + moved * this_row.im - moved * pivot_row.im,
        )
        pivot = pivot_row.map(lambda part, k=k: part[..., k : k + 1])  # type: ignore[misc]
        sign = 2 * (chosen * here).sum(-2).squeeze(-1) - 1  # -1 where two rows were swapped
        factor = pivot.map(lambda part: part.squeeze(-1).squeeze(-1))
        determinant = pairs.multiply(determinant, factor.map(lambda part, s=sign: part * s))  # type: ignore[misc]
        scaled = pairs.divide(pivot_row, pivot)
        others = whole.map(lambda part, k=k, h=here: part[..., k : k + 1] * (1 - h))  # type: ignore[misc]
        reduced = pairs.subtract(whole, pairs.multiply(others, scaled))
        whole = Pair(
            reduced.re * (1 - here) + here * scaled.re,
            reduced.im * (1 - here) + here * scaled.im,
        )
    return whole.map(lambda part: part[..., n:]), determinant


def _inverse(context: Context, matrix: Pair) -> Pair:
    n = matrix.re.shape[-1]
    eye = _identity(context, n, matrix.re.dtype).expand(matrix.re.shape)
    return eliminate(context, matrix, Pair(eye, torch.zeros_like(eye)))[0]


@complex_rule("linalg_inv", "inverse")
def _inv(context: Context, matrix: Pair) -> Pair:
    return _inverse(context, matrix)


@complex_rule("linalg_inv_ex")
def _inv_ex(context: Context, matrix: Pair, **kwargs: Any) -> list[Any]:
    status = torch.zeros(list(context.produced[1].shape), dtype=context.produced[1].dtype)
    return [_inverse(context, matrix), status]


@complex_rule("linalg_det", "det")
def _det(context: Context, matrix: Pair) -> Pair:
    return eliminate(context, matrix, matrix.map(lambda part: part[..., :0]))[1]


def _solve(context: Context, matrix: Value, right: Value, left: bool, shape: Any) -> Pair:
    a, b = promote(matrix), promote(right)
    is_vector = b.re.dim() == 1 or (
        b.re.dim() + 1 == a.re.dim() and tuple(b.re.shape) == tuple(a.re.shape[:-1])
    )
    if is_vector:
        b = b.map(lambda part: part.unsqueeze(-1))
    if not left:
        a, b = (z.map(lambda part: part.transpose(-2, -1)) for z in (a, b))
    lead = torch.broadcast_shapes(a.re.shape[:-2], b.re.shape[:-2])  # type: ignore[no-untyped-call]
    a = a.map(lambda part: part.expand(*lead, *part.shape[-2:]))
    b = b.map(lambda part: part.expand(*lead, *part.shape[-2:]))
    solution = eliminate(context, a, b)[0]
    if not left:
        solution = solution.map(lambda part: part.transpose(-2, -1))
    return solution.map(lambda part: part.reshape(shape))


@complex_rule("linalg_solve")
def _linalg_solve(context: Context, matrix: Value, right: Value, *, left: bool = True) -> Pair:
    return _solve(context, matrix, right, left, context.produced.shape)


@complex_rule("linalg_solve_ex")
def _linalg_solve_ex(
    context: Context, matrix: Value, right: Value, *, left: bool = True, check_errors: bool = False
) -> list[Any]:
    status = torch.zeros(list(context.produced[1].shape), dtype=context.produced[1].dtype)
    return [_solve(context, matrix, right, left, context.produced[0].shape), status]


@complex_rule("linalg_solve_triangular")
def _solve_triangular(
    context: Context,
    matrix: Value,
    right: Value,
    *,
    upper: bool,
    left: bool = True,
    unitriangular: bool = False,
) -> Pair:
    kept = promote(matrix).map(torch.triu if upper else torch.tril)
    return _solve(
        context, _with_unit_diagonal(context, kept, unitriangular), right, left, context.produced.shape
    )


@complex_rule("triangular_solve")
def _old_triangular_solve(
    context: Context,
    right: Value,
    matrix: Value,
    upper: bool = True,
    transpose: bool = False,
    unitriangular: bool = False,
) -> list[Any]:
    whole = promote(matrix)
    kept = _with_unit_diagonal(context, whole.map(torch.triu if upper else torch.tril), unitriangular)
    if transpose:
        kept = kept.map(lambda part: part.transpose(-2, -1))
    solution = _solve(context, kept, right, True, context.produced[0].shape)
    return [solution, whole.map(lambda part: part.expand(context.produced[1].shape))]


def _with_unit_diagonal(context: Context, matrix: Pair, wanted: bool) -> Pair:
    if not wanted:
        return matrix
    eye = _identity(context, matrix.re.shape[-1], matrix.re.dtype)
    return Pair(matrix.re * (1 - eye) + eye, matrix.im * (1 - eye))


def _sign_and_log(context: Context, matrix: Pair) -> tuple[Pair, Tensor]:
    determinant = eliminate(context, matrix, matrix.map(lambda part: part[..., :0]))[1]
    return pairs.sign(determinant), torch.log(pairs.magnitude(determinant))


@complex_rule("linalg_slogdet", "slogdet")
def _slogdet(context: Context, matrix: Pair) -> list[Any]:
    return list(_sign_and_log(context, matrix))


@complex_rule("logdet")
def _logdet(context: Context, matrix: Pair) -> Pair:
    sign, size = _sign_and_log(context, matrix)
    return Pair(size, pairs.angle(sign))
