"""Operations that move elements and compute nothing."""

from __future__ import annotations

from itertools import accumulate

import numpy as np

from .registry import Call, Result, axis_of, operation


@operation("reshape")
def _reshape(call: Call) -> Result:
    x, shape = call.array("x"), call.numbers("shape", [])
    # 0 keeps a size, -1 takes what is left.
    return x.reshape([x.shape[i] if size == 0 else size for i, size in enumerate(shape)])


@operation("transpose")
def _transpose(call: Call) -> Result:
    x = call.array("x")
    perm = [axis_of(axis, x.ndim) for axis in call.numbers("perm", [])]
    # Copied, as the operations that follow are faster on contiguous values.
    return np.ascontiguousarray(x.transpose(perm))


@operation("expand_dims")
def _expand_dims(call: Call) -> Result:
    x, axes = call.array("x"), call.numbers("axes", [])
    return np.expand_dims(x, tuple(axis_of(axis, x.ndim + len(axes)) for axis in axes))


@operation("squeeze")
def _squeeze(call: Call) -> Result:
    axes = call.numbers("axes", None)
    return np.squeeze(call.array("x"), None if axes is None else tuple(axes))


@operation("concat")
def _concat(call: Call) -> Result:
    values = call.arrays("values")
    axis = axis_of(call.number("axis", 0), values[0].ndim)
    if not call.flag("interleave", False):
        return np.concatenate(values, axis)
    joined = np.stack(values, axis + 1)
    return joined.reshape(*values[0].shape[:axis], -1, *values[0].shape[axis + 1 :])


@operation("stack")
def _stack(call: Call) -> Result:
    values = call.arrays("values")
    return np.stack(values, axis_of(call.number("axis", 0), values[0].ndim + 1))


@operation("split")
def _split(call: Call) -> Result:
    x = call.array("x")
    axis = axis_of(call.number("axis", 0), x.ndim)
    sizes = call.numbers("split_sizes", None)
    if sizes is None:
        count = call.number("num_splits", 1)
        if x.shape[axis] % count:
            raise ValueError(f"{x.shape[axis]} in {count} parts")
        sizes = [x.shape[axis] // count] * count
    if sum(sizes) != x.shape[axis] or min(sizes) < 0:
        raise ValueError(f"parts of {sizes!r:.80} out of {x.shape[axis]}")
    return tuple(np.split(x, list(accumulate(sizes))[:-1], axis))


@operation("tile")
def _tile(call: Call) -> Result:
    x, reps = call.array("x"), call.numbers("reps", [])
    if len(reps) != x.ndim:
        raise ValueError(f"{len(reps)} repetitions of {x.ndim} axes")
    call.expect(tuple(size * rep for size, rep in zip(x.shape, reps, strict=True)))
    return np.tile(x, reps)


@operation("reverse")
def _reverse(call: Call) -> Result:
    axes = call.numbers("axes", None)
    return np.flip(call.array("x"), None if axes is None else tuple(axes)).copy()


@operation("pad")
def _pad(call: Call) -> Result:
    x, pad, mode = call.array("x"), call.numbers("pad", []), call.text("mode", "constant")
    pairs = list(zip(pad[::2], pad[1::2], strict=True))
    widths = [(0, 0)] * (x.ndim - len(pairs)) + pairs  # the last axes are meant
    call.expect(tuple(size + before + after for size, (before, after) in zip(x.shape, widths, strict=True)))
    if mode == "constant":
        value = call.arguments.get("constant_val")
        return np.pad(x, widths, constant_values=0 if value is None else np.asarray(value).reshape(-1)[0])
    if mode == "reflect":
        return np.pad(x, widths, mode="reflect")
    if mode == "replicate":
        return np.pad(x, widths, mode="edge")
    raise ValueError(f"the mode {mode!r:.40} is unknown")


@operation("slice_by_index")
def _slice_by_index(call: Call) -> Result:
    x = call.array("x")
    begin, end = call.numbers("begin", []), call.numbers("end", [])
    masks = {name: call.numbers(name, [0] * x.ndim) for name in ("begin_mask", "end_mask", "squeeze_mask")}
    stride = call.numbers("stride", [1] * x.ndim)
    if {len(v) for v in (begin, end, stride, *masks.values())} != {x.ndim}:
        raise ValueError(f"bounds for another number of axes than {x.ndim}")
    index: list[int | slice] = []
    for axis in range(x.ndim):
        if masks["squeeze_mask"][axis]:
            index.append(begin[axis])
            continue
        first = None if masks["begin_mask"][axis] else begin[axis]
        last = None if masks["end_mask"][axis] else end[axis]
        index.append(slice(first, last, stride[axis]))
    return np.ascontiguousarray(x[tuple(index)])


@operation("pixel_shuffle")
def _pixel_shuffle(call: Call) -> Result:
    x, r = call.array("x"), call.number("upscale_factor", 1)
    n, c, h, w = x.shape
    apart = x.reshape(n, c // r**2, r, r, h, w)
    return apart.transpose(0, 1, 4, 2, 5, 3).reshape(n, c // r**2, h * r, w * r)


@operation("pixel_unshuffle")
def _pixel_unshuffle(call: Call) -> Result:
    x, r = call.array("x"), call.number("downscale_factor", 1)
    n, c, h, w = x.shape
    apart = x.reshape(n, c, h // r, r, w // r, r)
    return apart.transpose(0, 1, 3, 5, 2, 4).reshape(n, c * r**2, h // r, w // r)


@operation("crop")
def _crop(call: Call) -> Result:
    x = call.array("x")
    (top, bottom), (left, right) = call.numbers("crop_height", [0, 0]), call.numbers("crop_width", [0, 0])
    if min(top, bottom, left, right) < 0 or x.ndim < 2:
        raise ValueError(f"crops {top}, {bottom}, {left}, {right} of {list(x.shape)}")
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right].copy()


@operation("band_part")
def _band_part(call: Call) -> Result:
    x = call.array("x")
    lower, upper = call.number("lower", -1), call.number("upper", -1)
    rows, columns = np.arange(x.shape[-2])[:, None], np.arange(x.shape[-1])
    kept = ((lower < 0) | (rows - columns <= lower)) & ((upper < 0) | (columns - rows <= upper))
    return np.where(kept, x, np.zeros((), x.dtype))
