"""``DFT``: its axis is brought beside the parts, multiplied with one matrix or two, and brought back."""

from __future__ import annotations

from collections.abc import Sequence

from .maker import LARGEST_MATRIX, LONGEST, Maker, Written
from .products import Transform
from .split import Split, plan_split

DENSE, FACTORED = "separable", "factored"
"""Names of the strategies, as plans have them."""


def rewrite_dft(maker: Maker, shape: tuple[int | None, ...]) -> Written:
    """Write the nodes of one transform of an input of ``shape``, whose last dimension holds the parts.

    Raises:
        LoweringError: an axis, a length or parts that no transform has, or a matrix that would be too large.
        UnknownSizeError: the axis, its size or the parts are not known.
    """
    rank = len(shape)
    axis = _axis(maker, rank)
    size, parts = shape[axis], shape[-1]
    if parts not in (1, 2):
        if parts is None:
            raise maker.unknown("whether its input is real or complex")
        raise maker.refused(f"its input's last dimension is {parts}, neither 1 (real) nor 2 (complex)")
    if size is None:
        raise maker.unknown(f"the size of its input along axis {axis}")
    inverse, one_sided = bool(maker.options.get("inverse")), bool(maker.options.get("onesided"))
    if one_sided and inverse != (parts == 2):
        raise maker.refused(
            "a one-sided inverse transform takes complex values"
            if inverse
            else "a one-sided transform takes real values"
        )
    default = 2 * (size - 1) if inverse and one_sided else size
    length = maker.scalar(1, "dft_length", default)
    check_length(maker, length, size)
    half = length // 2 + 1
    transform = Transform(
        length,
        taken=min(size, half if inverse and one_sided else length),
        kept=half if one_sided and not inverse else length,
        parts_in=parts,
        parts_out=1 if inverse and one_sided else 2,
        inverse=inverse,
    )
    return _products(maker, shape, axis, transform)


def check_length(maker: Maker, length: int, size: int) -> None:
    """Check a length before anything is computed from it.

    Raises:
        LoweringError: no transform has it.
    """
    if not 1 <= length <= LONGEST or size < 1:
        raise maker.refused(f"{length} points of {size} values are no transform that can be rewritten")


def _products(maker: Maker, shape: tuple[int | None, ...], axis: int, transform: Transform) -> Written:
    """Bring the axis beside the parts, multiply, and bring it back."""
    rank, value = len(shape), maker.node.input[0]
    size = shape[axis]
    if size is not None and size > transform.taken:
        bounds = [maker.sizes([0]), maker.sizes([transform.taken]), maker.sizes([axis])]
        value = maker.add("Slice", [value, *bounds], "crop")
    aside = [dim for dim in range(rank - 1) if dim != axis] + [axis, rank - 1]
    moved = aside != list(range(rank))
    if moved:
        value = maker.add("Transpose", [value], "aside", perm=aside)
    leading = [shape[dim] for dim in aside[:-2]]
    split = plan_split(transform, leading)
    used = transform.bytes if split is None else split.bytes
    if used > LARGEST_MATRIX:
        raise maker.refused(
            f"its constants for {transform.length} points would have {used >> 20} MB; at most "
            f"{LARGEST_MATRIX >> 20} MB are written. Cut the signal into shorter pieces, or choose a length "
            "with two factors of like size"
        )
    if split is None:
        _dense(maker, value, rank, transform, last=not moved)
    else:
        _split(maker, value, leading, split, last=not moved)
    if moved:
        back = [aside.index(dim) for dim in range(rank)]
        maker.add("Transpose", [maker.nodes[-1].output[0]], "back", last=True, perm=back)
    strategy = DENSE if split is None else FACTORED
    work = transform.bytes // 4 if split is None else split.work
    return Written(maker.nodes, transform, shape[:-1], axis, strategy, used, work)


def _dense(maker: Maker, value: str, rank: int, transform: Transform, *, last: bool) -> None:
    leading = [0] * (rank - 2)  # copied from the input, whatever it is
    flat = transform.taken * transform.parts_in
    value = maker.add("Reshape", [value, maker.sizes([*leading, flat])], "flat")
    matrix = maker.constant(transform.name, lambda: transform.matrix().reshape(flat, -1))
    value = maker.add("MatMul", [value, matrix], "product")
    parted = maker.sizes([*leading, transform.kept, transform.parts_out])
    maker.add("Reshape", [value, parted], "parts", last=last)


def _split(maker: Maker, value: str, leading: Sequence[int | None], split: Split, *, last: bool) -> None:
    """Write the two products of a split transform; all leading dimensions are one batch meanwhile."""
    whole, n1, n2 = split.transform, split.n1, split.n2
    parts, ends = whole.parts_in, whole.parts_out
    if whole.taken < whole.length:
        rank = len(leading) + 2
        zeros = [0] * (2 * rank)
        zeros[-2] = whole.length - whole.taken
        value = maker.add("Pad", [value, maker.sizes(zeros)], "padded")

    def reshaped(value: str, sizes: Sequence[int], what: str) -> str:
        return maker.add("Reshape", [value, maker.sizes(sizes)], what)

    value = reshaped(value, [-1, n1, n2, parts], "grid")
    value = maker.add("Transpose", [value], "columns", perm=[2, 0, 1, 3])
    value = reshaped(value, [n2, -1, n1 * parts], "rows")
    first = maker.constant(f"{whole.name}_first", split.first)
    value = maker.add("MatMul", [value, first], "product")
    value = reshaped(value, [n2, -1, n1, 2], "residues")
    value = maker.add("Transpose", [value], "turned", perm=[1, 2, 0, 3])
    value = reshaped(value, [-1, n1, n2 * 2], "lines")
    second = maker.constant(f"{whole.name}_second", split.second)
    value = maker.add("MatMul", [value, second], "product")
    value = reshaped(value, [-1, n1, n2, ends], "bins")
    value = maker.add("Transpose", [value], "ordered", perm=[0, 2, 1, 3])
    restored = maker.sizes([*(-1 if size is None else size for size in leading), whole.length, ends])
    cropped = whole.kept < whole.length
    value = maker.add("Reshape", [value, restored], "parts", last=last and not cropped)
    if cropped:
        bounds = [maker.sizes([0]), maker.sizes([whole.kept]), maker.sizes([-2])]
        maker.add("Slice", [value, *bounds], "half", last=last)


def _axis(maker: Maker, rank: int) -> int:
    """Return the axis, counted from the front; an attribute until opset 19, an input from 20."""
    axis = maker.options.get("axis", 1) if maker.scope.opset < 20 else maker.scalar(2, "axis", -2)
    if not (-rank <= axis <= -2 or 0 <= axis <= rank - 2):
        raise maker.refused(f"axis {axis} is no signal axis of an input of {rank} dimensions")
    return axis % rank
