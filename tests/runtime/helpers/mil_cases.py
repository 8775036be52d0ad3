"""For every operation of the interpreter: random arguments, and what torch makes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import strategies as st

Draw = Callable[[st.SearchStrategy[Any]], Any]
Case = Callable[[Draw], tuple[dict[str, Any], Any]]
CASES: dict[str, Case] = {}


def case(*names: str) -> Callable[[Case], Case]:
    def enter(function: Case) -> Case:
        CASES.update(dict.fromkeys(names, function))
        return function

    return enter


def shape(draw: Draw, low: int = 1, high: int = 4) -> tuple[int, ...]:
    return tuple(draw(st.lists(st.integers(1, 5), min_size=low, max_size=high)))


def values(draw: Draw, sizes: tuple[int, ...], positive: bool = False) -> np.ndarray:
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    drawn = rng.standard_normal(sizes)
    return (np.abs(drawn) + 0.1 if positive else drawn).astype(np.float32)


def whole(draw: Draw, low: int, high: int) -> int:
    return int(draw(st.integers(low, high)))


def vector(numbers: Any, dtype: Any = np.int32) -> np.ndarray:
    return np.array(numbers, dtype)


def broadcast(draw: Draw, positive: bool = False) -> tuple[np.ndarray, np.ndarray]:
    full = shape(draw)
    thin = tuple(1 if draw(st.booleans()) else n for n in full)[whole(draw, 0, len(full) - 1) :]
    return values(draw, full, positive), values(draw, thin, positive)


def binary(function: Callable[..., torch.Tensor], positive: bool = False) -> Case:
    def make(draw: Draw) -> tuple[dict[str, Any], Any]:
        x, y = broadcast(draw, positive)
        if draw(st.booleans()):
            y = y.copy()
            y.flat[0] = x.flat[0]  # so that comparisons meet equal values
        return {"x": x, "y": y}, function(torch.from_numpy(x), torch.from_numpy(y))

    return make


def unary(function: Callable[..., torch.Tensor], positive: bool = False, scale: float = 1.0) -> Case:
    def make(draw: Draw) -> tuple[dict[str, Any], Any]:
        x = values(draw, shape(draw), positive) * np.float32(scale)
        return {"x": x}, function(torch.from_numpy(x))

    return make


BINARY = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "real_div": torch.div,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "equal": torch.eq,
    "not_equal": torch.ne,
    "greater": torch.gt,
    "greater_equal": torch.ge,
    "less": torch.lt,
    "less_equal": torch.le,
}
UNARY = {
    "abs": torch.abs,
    "atan": torch.atan,
    "ceil": torch.ceil,
    "cos": torch.cos,
    "erf": torch.erf,
    "cosh": torch.cosh,
    "exp": torch.exp,
    "exp2": torch.exp2,
    "floor": torch.floor,
    "identity": torch.clone,
    "relu": torch.relu,
    "relu6": F.relu6,
    "round": torch.round,
    "sigmoid": torch.sigmoid,
    "sign": torch.sign,
    "silu": F.silu,
    "sin": torch.sin,
    "sinh": torch.sinh,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "square": torch.square,
    "tanh": torch.tanh,
}
CASES.update({name: binary(function) for name, function in BINARY.items()})
CASES.update({name: unary(function, scale=4) for name, function in UNARY.items()})
CASES.update({n: unary(getattr(torch, n), scale=0.15) for n in ("acos", "asin", "atanh", "tan")})
CASES["floor_div"] = binary(lambda x, y: torch.div(x, y, rounding_mode="floor"))
CASES["mod"] = binary(torch.remainder)
CASES["pow"] = binary(torch.pow, positive=True)
CASES["sqrt"] = unary(torch.sqrt, positive=True)


@case("logical_and", "logical_or", "logical_xor")
def logical(draw: Draw) -> tuple[dict[str, Any], Any]:
    x, y = (a > 0 for a in broadcast(draw))
    functions = {n: getattr(torch, n) for n in ("logical_and", "logical_or", "logical_xor")}
    return {"x": x, "y": y}, {n: f(torch.from_numpy(x), torch.from_numpy(y)) for n, f in functions.items()}


@case("logical_not")
def logical_not(draw: Draw) -> tuple[dict[str, Any], Any]:
    x = values(draw, shape(draw)) > 0
    return {"x": x}, torch.logical_not(torch.from_numpy(x))


@case("log", "inverse", "rsqrt")
def with_epsilon(draw: Draw) -> tuple[dict[str, Any], Any]:
    x = values(draw, shape(draw), positive=True)
    epsilon = np.float32(draw(st.sampled_from([1e-12, 1e-4, 0.5])))
    shifted = torch.from_numpy(x) + epsilon
    wanted = {"log": shifted.log(), "inverse": 1 / shifted, "rsqrt": shifted.rsqrt()}
    return {"x": x, "epsilon": epsilon}, wanted


@case("leaky_relu")
def leaky_relu(draw: Draw) -> tuple[dict[str, Any], Any]:
    x, alpha = values(draw, shape(draw)), np.float32(draw(st.sampled_from([0.01, 0.2])))
    return {"x": x, "alpha": alpha}, F.leaky_relu(torch.from_numpy(x), float(alpha))


@case("clip")
def clip(draw: Draw) -> tuple[dict[str, Any], Any]:
    x = values(draw, shape(draw)) * 3
    return {"x": x, "alpha": np.float32(-1), "beta": np.float32(2)}, torch.from_numpy(x).clamp(-1, 2)


PARAMETRIC = {
    "clamped_relu": lambda t, a, b: torch.minimum(torch.where(t >= 0, t, a * t), torch.tensor(b)),
    "elu": lambda t, a, b: F.elu(t, a),
    "linear_activation": lambda t, a, b: a * t + b,
    "scaled_tanh": lambda t, a, b: a * torch.tanh(b * t),
    "sigmoid_hard": lambda t, a, b: (a * t + b).clamp(0, 1),
    "threshold": lambda t, a, b: t.clamp(min=a),
    "thresholded_relu": lambda t, a, b: F.threshold(t, a, 0.0),
}


@case(*PARAMETRIC)
def parametric(draw: Draw) -> tuple[dict[str, Any], Any]:
    x = values(draw, shape(draw)) * 3
    alpha, beta = (np.float32(draw(st.sampled_from([0.25, 0.5, 1.5]))) for _ in range(2))
    one = {name: {"alpha": alpha} for name in ("elu", "threshold", "thresholded_relu")}
    two = {name: {"alpha": alpha, "beta": beta} for name in PARAMETRIC if name not in one}
    wanted = {n: f(torch.from_numpy(x), float(alpha), float(beta)) for n, f in PARAMETRIC.items()}
    return {"x": x, "*": one | two}, wanted


@case("prelu", "softplus_parametric")
def by_channel(draw: Draw) -> tuple[dict[str, Any], Any]:
    x = values(draw, (2, whole(draw, 1, 4), 3, 2))
    alpha, beta = values(draw, (x.shape[1],), positive=True), values(draw, (x.shape[1],), positive=True)
    t, a, b = (torch.from_numpy(v) for v in (x, alpha, beta))
    soft = a[:, None, None] * F.softplus(t * b[:, None, None])
    arguments = {"prelu": {"alpha": alpha}, "softplus_parametric": {"alpha": alpha, "beta": beta}}
    return {"x": x, "*": arguments}, {"prelu": F.prelu(t, a), "softplus_parametric": soft}


@case("gelu")
def gelu(draw: Draw) -> tuple[dict[str, Any], Any]:
    x = values(draw, shape(draw)) * 3
    mode = draw(st.sampled_from(["EXACT", "TANH_APPROXIMATION", "SIGMOID_APPROXIMATION"]))
    t = torch.from_numpy(x)
    wanted = {
        "EXACT": F.gelu(t),
        "TANH_APPROXIMATION": F.gelu(t, approximate="tanh"),
        "SIGMOID_APPROXIMATION": t * torch.sigmoid(1.702 * t),
    }
    return {"x": x, "mode": mode}, wanted[mode]


@case("cast")
def cast(draw: Draw) -> tuple[dict[str, Any], Any]:
    x = values(draw, shape(draw)) * 5
    dtype, to = draw(st.sampled_from([("int32", torch.int32), ("bool", torch.bool), ("fp32", torch.float32)]))
    return {"x": x, "dtype": dtype}, torch.from_numpy(x).to(to)


@case("select")
def select(draw: Draw) -> tuple[dict[str, Any], Any]:
    a, b = broadcast(draw)
    condition = values(draw, a.shape) > 0
    return {"cond": condition, "a": a, "b": b}, torch.where(*map(torch.from_numpy, (condition, a, b)))


@case("fill_like")
def fill_like(draw: Draw) -> tuple[dict[str, Any], Any]:
    x = values(draw, shape(draw))
    return {"ref_tensor": x, "value": np.float32(2.5)}, torch.full(x.shape, 2.5)


@case("reshape")
def reshape(draw: Draw) -> tuple[dict[str, Any], Any]:
    x = values(draw, shape(draw))
    sizes = draw(st.sampled_from([[-1], [x.shape[0], -1], [1, -1, x.shape[-1]]]))
    return {"x": x, "shape": vector(sizes)}, torch.from_numpy(x).reshape(sizes)


@case("transpose")
def transpose(draw: Draw) -> tuple[dict[str, Any], Any]:
    x = values(draw, shape(draw))
    perm = draw(st.permutations(range(x.ndim)))
    return {"x": x, "perm": vector(perm)}, torch.from_numpy(x).permute(perm)


@case("expand_dims")
def expand_dims(draw: Draw) -> tuple[dict[str, Any], Any]:
    x = values(draw, shape(draw))
    axis = whole(draw, -x.ndim - 1, x.ndim)
    return {"x": x, "axes": vector([axis])}, torch.from_numpy(x).unsqueeze(axis)


@case("squeeze")
def squeeze(draw: Draw) -> tuple[dict[str, Any], Any]:
    x = values(draw, shape(draw))
    axis = whole(draw, 0, x.ndim)
    return {"x": np.expand_dims(x, axis), "axes": vector([axis])}, torch.from_numpy(x)


@case("concat")
def concat(draw: Draw) -> tuple[dict[str, Any], Any]:
    sizes = shape(draw)
    axis, interleave = whole(draw, -len(sizes), len(sizes) - 1), bool(draw(st.booleans()))
    parts = [values(draw, sizes) for _ in range(3)]
    if not interleave:
        wanted = torch.cat([torch.from_numpy(p) for p in parts], axis)
    else:
        front = axis % len(sizes)
        stacked = torch.stack([torch.from_numpy(p) for p in parts], front + 1)
        wanted = stacked.flatten(front, front + 1)
    return {"values": parts, "axis": np.int32(axis), "interleave": interleave}, wanted


@case("stack")
def stack(draw: Draw) -> tuple[dict[str, Any], Any]:
    sizes = shape(draw)
    axis = whole(draw, -len(sizes) - 1, len(sizes))
    parts = [values(draw, sizes) for _ in range(2)]
    return {"values": parts, "axis": np.int32(axis)}, torch.stack(list(map(torch.from_numpy, parts)), axis)


@case("split")
def split(draw: Draw) -> tuple[dict[str, Any], Any]:
    sizes = shape(draw)
    axis = whole(draw, 0, len(sizes) - 1)
    parts = draw(st.lists(st.integers(1, 4), min_size=2, max_size=3))
    x = values(draw, (*sizes[:axis], sum(parts), *sizes[axis + 1 :]))
    return {"x": x, "split_sizes": vector(parts), "axis": np.int32(axis)}, torch.from_numpy(x).split(
        parts, axis
    )


@case("tile")
def tile(draw: Draw) -> tuple[dict[str, Any], Any]:
    x = values(draw, shape(draw))
    reps = [whole(draw, 1, 3) for _ in x.shape]
    return {"x": x, "reps": vector(reps)}, torch.from_numpy(x).repeat(reps)


@case("reverse")
def reverse(draw: Draw) -> tuple[dict[str, Any], Any]:
    x = values(draw, shape(draw))
    axes = sorted(draw(st.sets(st.integers(0, x.ndim - 1), min_size=1)))
    return {"x": x, "axes": vector(axes)}, torch.from_numpy(x).flip(axes)


@case("pad")
def pad(draw: Draw) -> tuple[dict[str, Any], Any]:
    mode = draw(st.sampled_from(["constant", "reflect", "replicate"]))
    x = values(draw, (whole(draw, 1, 3), whole(draw, 1, 3), whole(draw, 4, 6), whole(draw, 4, 6)))
    top, bottom, left, right = (whole(draw, 0, 3) for _ in range(4))
    options = {"value": -0.5} if mode == "constant" else {}
    wanted = F.pad(torch.from_numpy(x), (left, right, top, bottom), mode=mode, **options)
    widths = vector([0, 0, 0, 0, top, bottom, left, right])
    return {"x": x, "pad": widths, "mode": mode, "constant_val": np.float32(-0.5)}, wanted


@case("slice_by_index")
def slice_by_index(draw: Draw) -> tuple[dict[str, Any], Any]:
    x = values(draw, tuple(n + 1 for n in shape(draw)))
    begin = [whole(draw, 0, n - 1) for n in x.shape]
    end = [whole(draw, b + 1, n) for b, n in zip(begin, x.shape, strict=True)]
    stride = [whole(draw, 1, 3) for _ in x.shape]
    ends = [bool(draw(st.booleans())) for _ in x.shape]
    drop = [i > 0 and bool(draw(st.booleans())) for i in range(x.ndim)]
    masks = zip(begin, end, stride, ends, drop, strict=True)
    index = tuple(b if d else slice(b, None if m else e, s) for b, e, s, m, d in masks)
    arguments = {
        "begin": vector(begin),
        "end": vector(end),
        "stride": vector(stride),
        "end_mask": vector(ends, bool),
        "squeeze_mask": vector(drop, bool),
    }
    return {"x": x, **arguments}, torch.from_numpy(x)[index]


@case("pixel_shuffle")
def pixel_shuffle(draw: Draw) -> tuple[dict[str, Any], Any]:
    x = values(draw, (1, 4 * whole(draw, 1, 3), whole(draw, 1, 4), whole(draw, 1, 4)))
    return {"x": x, "upscale_factor": np.int32(2)}, F.pixel_shuffle(torch.from_numpy(x), 2)


@case("pixel_unshuffle")
def pixel_unshuffle(draw: Draw) -> tuple[dict[str, Any], Any]:
    x = values(draw, (2, whole(draw, 1, 3), 2 * whole(draw, 1, 3), 4))
    return {"x": x, "downscale_factor": np.uint32(2)}, F.pixel_unshuffle(torch.from_numpy(x), 2)


@case("crop")
def crop(draw: Draw) -> tuple[dict[str, Any], Any]:
    x = values(draw, (2, 3, 6, 7))
    top, bottom, left, right = (whole(draw, 0, 2) for _ in range(4))
    arguments = {"crop_height": vector([top, bottom]), "crop_width": vector([left, right])}
    return {"x": x, **arguments}, F.pad(torch.from_numpy(x), (-left, -right, -top, -bottom))


@case("band_part")
def band_part(draw: Draw) -> tuple[dict[str, Any], Any]:
    x = values(draw, shape(draw, 2, 3))
    lower, upper = whole(draw, -1, 4), whole(draw, -1, 4)
    t = torch.from_numpy(x)
    t = t if lower < 0 else t.triu(-lower)
    return {"x": x, "lower": np.int32(lower), "upper": np.int32(upper)}, t if upper < 0 else t.tril(upper)


@case("one_hot")
def one_hot(draw: Draw) -> tuple[dict[str, Any], Any]:
    sizes, count = shape(draw, 1, 2), whole(draw, 1, 5)
    indices = np.random.default_rng(whole(draw, 0, 9999)).integers(0, count, sizes).astype(np.int32)
    axis = whole(draw, -len(sizes) - 1, len(sizes))
    hot = F.one_hot(torch.from_numpy(indices).long(), count).float() * 2 + 0.5
    arguments = {"axis": np.int32(axis), "on_value": np.float32(2.5), "off_value": np.float32(0.5)}
    return {"indices": indices, "one_hot_vector_size": np.int32(count), **arguments}, hot.movedim(-1, axis)


@case("topk", "argsort")
def topk(draw: Draw) -> tuple[dict[str, Any], Any]:
    x = values(draw, shape(draw, 1, 3))
    axis, up = whole(draw, -x.ndim, x.ndim - 1), bool(draw(st.booleans()))
    k = whole(draw, 1, x.shape[axis])
    t = torch.from_numpy(x)
    largest, places = torch.topk(t, k, axis, largest=not up)
    wanted = {
        "topk": (largest, places.int()),
        "argsort": torch.argsort(t, axis, descending=not up).int(),
    }
    return {"x": x, "axis": np.int32(axis), "ascending": up, "*": {"topk": {"k": np.int32(k)}}}, wanted


@case("reduce_argmax", "reduce_argmin")
def argmax(draw: Draw) -> tuple[dict[str, Any], Any]:
    x, keep = values(draw, shape(draw, 2, 4)), bool(draw(st.booleans()))
    axis, t = whole(draw, -x.ndim, x.ndim - 1), torch.from_numpy(x)
    wanted = {"reduce_argmax": t.argmax(axis, keep).int(), "reduce_argmin": t.argmin(axis, keep).int()}
    return {"x": x, "axis": np.int32(axis), "keep_dims": keep}, wanted


@case("cumsum")
def cumsum(draw: Draw) -> tuple[dict[str, Any], Any]:
    x = values(draw, shape(draw))
    axis, exclusive, reverse = whole(draw, 0, x.ndim - 1), *(bool(draw(st.booleans())) for _ in range(2))
    t = torch.from_numpy(x)
    turned = t.flip(axis) if reverse else t
    sums = turned.cumsum(axis) - (turned if exclusive else 0)
    wanted = sums.flip(axis) if reverse else sums
    return {"x": x, "axis": np.int32(axis), "exclusive": exclusive, "reverse": reverse}, wanted


@case("gather", "gather_along_axis")
def gather(draw: Draw) -> tuple[dict[str, Any], Any]:
    x = values(draw, shape(draw))
    axis = whole(draw, 0, x.ndim - 1)
    picks = vector([whole(draw, 0, x.shape[axis] - 1) for _ in range(3)])
    t = torch.from_numpy(x).index_select(axis, torch.from_numpy(picks.astype(np.int64)))
    sizes = [1] * x.ndim
    sizes[axis] = 3
    along = np.broadcast_to(picks.reshape(sizes), t.shape).copy()
    arguments = {"gather": {"indices": picks}, "gather_along_axis": {"indices": along}}
    return {"x": x, "axis": np.int32(axis), "*": arguments}, t


@case("gather_nd")
def gather_nd(draw: Draw) -> tuple[dict[str, Any], Any]:
    x = values(draw, shape(draw, 2, 4))
    depth = whole(draw, 1, x.ndim)
    picks = np.array([[whole(draw, 0, n - 1) for n in x.shape[:depth]] for _ in range(3)], np.int32)
    wanted = torch.from_numpy(x)[tuple(torch.from_numpy(picks.astype(np.int64)).T)]
    return {"x": x, "indices": picks, "batch_dims": np.int32(0)}, wanted


@case("scatter", "scatter_nd")
def scatter(draw: Draw) -> tuple[dict[str, Any], Any]:
    data = values(draw, (5, *shape(draw, 0, 3)))
    mode = draw(st.sampled_from(["update", "add"]))
    picks = draw(st.lists(st.integers(0, 4), min_size=1, max_size=4, unique=mode == "update"))
    updates = values(draw, (len(picks), *data.shape[1:]))
    at = (torch.tensor(picks),)
    wanted = torch.from_numpy(data).index_put(at, torch.from_numpy(updates), accumulate=mode == "add")
    arguments = {
        "scatter": {"indices": vector(picks), "axis": np.int32(0)},
        "scatter_nd": {"indices": vector(picks)[:, None]},
    }
    return {"data": data, "updates": updates, "mode": mode, "*": arguments}, wanted


@case("scatter_along_axis")
def scatter_along_axis(draw: Draw) -> tuple[dict[str, Any], Any]:
    data, mode = values(draw, shape(draw, 1, 3)), draw(st.sampled_from(["update", "add"]))
    axis = whole(draw, 0, data.ndim - 1)
    count = whole(draw, 1, data.shape[axis])
    sizes = (*data.shape[:axis], count, *data.shape[axis + 1 :])
    rng = np.random.default_rng(whole(draw, 0, 9999))
    order = np.argsort(rng.random(data.shape), axis)  # no index twice, so that an update is defined
    indices, updates = np.take(order, np.arange(count), axis).astype(np.int32), values(draw, sizes)
    t, at, new = torch.from_numpy(data), torch.from_numpy(indices).long(), torch.from_numpy(updates)
    wanted = t.scatter(axis, at, new) if mode == "update" else t.scatter_add(axis, at, new)
    return {
        "data": data,
        "indices": indices,
        "updates": updates,
        "axis": np.int32(axis),
        "mode": mode,
    }, wanted


@case("linear")
def linear(draw: Draw) -> tuple[dict[str, Any], Any]:
    x = values(draw, shape(draw, 1, 3))
    weight, bias = values(draw, (4, x.shape[-1])), values(draw, (4,))
    return {"x": x, "weight": weight, "bias": bias}, F.linear(*map(torch.from_numpy, (x, weight, bias)))


@case("matmul")
def matmul(draw: Draw) -> tuple[dict[str, Any], Any]:
    lead, (m, k, n) = shape(draw, 0, 2), (whole(draw, 1, 5) for _ in range(3))
    flip_x, flip_y = bool(draw(st.booleans())), bool(draw(st.booleans()))
    x, y = values(draw, (*lead, m, k)), values(draw, (*(lead if draw(st.booleans()) else ()), k, n))
    wanted = torch.from_numpy(x) @ torch.from_numpy(y)
    x, y = x.swapaxes(-1, -2).copy() if flip_x else x, y.swapaxes(-1, -2).copy() if flip_y else y
    return {"x": x, "y": y, "transpose_x": flip_x, "transpose_y": flip_y}, wanted


@case("conv")
def conv(draw: Draw) -> tuple[dict[str, Any], Any]:
    axes = whole(draw, 1, 3)
    groups, own, out = whole(draw, 1, 3), whole(draw, 1, 3), whole(draw, 1, 2)
    kernel, strides, dilations, before, after = (
        [whole(draw, low, 3) for _ in range(axes)] for low in (1, 1, 1, 0, 0)
    )
    x = values(draw, (whole(draw, 1, 2), groups * own, *(whole(draw, 7, 9) for _ in range(axes))))
    weight, bias = values(draw, (groups * out, own, *kernel)), values(draw, (groups * out,))
    pairs = list(zip(before, after, strict=True))
    padded = F.pad(torch.from_numpy(x), [n for pair in reversed(pairs) for n in pair])
    function = (F.conv1d, F.conv2d, F.conv3d)[axes - 1]
    w, b = torch.from_numpy(weight), torch.from_numpy(bias)
    wanted = function(padded, w, b, stride=strides, dilation=dilations, groups=groups)
    arguments = {
        "strides": vector(strides),
        "dilations": vector(dilations),
        "pad_type": "custom",
        "pad": vector([n for pair in pairs for n in pair]),
        "groups": np.int32(groups),
    }
    return {"x": x, "weight": weight, "bias": bias, **arguments}, wanted


@case("conv_transpose")
def conv_transpose(draw: Draw) -> tuple[dict[str, Any], Any]:
    axes = whole(draw, 1, 3)
    groups, own, out = whole(draw, 1, 2), whole(draw, 1, 3), whole(draw, 1, 2)
    kernel, strides, dilations = ([whole(draw, 1, 3) for _ in range(axes)] for _ in range(3))
    pads = [whole(draw, 0, min(2, d * (k - 1))) for d, k in zip(dilations, kernel, strict=True)]
    extra = [whole(draw, 0, max(s, d) - 1) for s, d in zip(strides, dilations, strict=True)]
    x = values(draw, (whole(draw, 1, 2), groups * own, *(whole(draw, 4, 5) for _ in range(axes))))
    weight, bias = values(draw, (groups * own, out, *kernel)), values(draw, (groups * out,))
    function = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[axes - 1]
    tensors = (torch.from_numpy(v) for v in (x, weight, bias))
    wanted = function(*tensors, strides, pads, extra, groups, dilations)
    arguments = {
        "strides": vector(strides),
        "dilations": vector(dilations),
        "pad_type": "custom",
        "pad": vector([n for pad in pads for n in (pad, pad)]),
        "groups": np.int32(groups),
    }
    if any(extra) or draw(st.booleans()):
        arguments["output_shape"] = vector(wanted.shape)
    return {"x": x, "weight": weight, "bias": bias, **arguments}, wanted


@case("max_pool", "avg_pool")
def pool(draw: Draw) -> tuple[dict[str, Any], Any]:
    axes = whole(draw, 1, 2)
    kernel, strides = ([whole(draw, 1, 3) for _ in range(axes)] for _ in range(2))
    pads = [whole(draw, 0, k // 2) for k in kernel]
    ceil, inside = bool(draw(st.booleans())), bool(draw(st.booleans()))
    x = values(draw, (2, 3, *(whole(draw, 5, 8) for _ in range(axes))))
    t, largest = torch.from_numpy(x), (F.max_pool1d, F.max_pool2d)[axes - 1]
    average = (F.avg_pool1d, F.avg_pool2d)[axes - 1]
    wanted = {
        "max_pool": largest(t, kernel, strides, pads, ceil_mode=ceil),
        "avg_pool": average(t, kernel, strides, pads, ceil, inside),
    }
    arguments = {
        "kernel_sizes": vector(kernel),
        "strides": vector(strides),
        "pad_type": "custom",
        "pad": vector([n for pad in pads for n in (pad, pad)]),
        "ceil_mode": ceil and all(pads),
    }
    if ceil and not all(pads):  # coremltools states the sizes of this case otherwise than torch
        wanted = {
            "max_pool": largest(t, kernel, strides, pads),
            "avg_pool": average(t, kernel, strides, pads, False, inside),
        }
    return {"x": x, **arguments, "*": {"avg_pool": {"exclude_padding_from_average": not inside}}}, wanted


@case("instance_norm")
def instance_norm(draw: Draw) -> tuple[dict[str, Any], Any]:
    x = values(draw, (2, whole(draw, 1, 4), whole(draw, 2, 4), whole(draw, 1, 4)))
    gamma, beta = (values(draw, (x.shape[1],)) for _ in range(2))
    t, weight, bias = (torch.from_numpy(v) for v in (x, gamma, beta))
    wanted = F.instance_norm(t, weight=weight, bias=bias, eps=1e-3)
    return {"x": x, "gamma": gamma, "beta": beta, "epsilon": np.float32(1e-3)}, wanted


REDUCED = ["reduce_sum", "reduce_mean", "reduce_max", "reduce_min", "reduce_prod", "reduce_l1_norm"]
REDUCED += ["reduce_l2_norm", "reduce_sum_square", "reduce_log_sum_exp"]


@case(*REDUCED)
def reduce(draw: Draw) -> tuple[dict[str, Any], Any]:
    x, keep = values(draw, shape(draw)), bool(draw(st.booleans()))
    axes = sorted(draw(st.sets(st.integers(0, x.ndim - 1), min_size=1)))
    t = torch.from_numpy(x)
    functions = {
        "reduce_sum": torch.sum,
        "reduce_mean": torch.mean,
        "reduce_max": torch.amax,
        "reduce_min": torch.amin,
        "reduce_prod": lambda t, axes, keepdim: torch.from_numpy(
            np.asarray(np.prod(t.numpy(), tuple(axes), keepdims=keepdim))
        ),
        "reduce_l1_norm": lambda t, axes, keepdim: torch.linalg.vector_norm(t, 1, axes, keepdim),
        "reduce_l2_norm": lambda t, axes, keepdim: torch.linalg.vector_norm(t, 2, axes, keepdim),
        "reduce_sum_square": lambda t, axes, keepdim: t.square().sum(axes, keepdim),
        "reduce_log_sum_exp": torch.logsumexp,
    }
    wanted = {name: f(t, axes, keepdim=keep) for name, f in functions.items()}
    return {"x": x, "axes": vector(axes), "keep_dims": keep}, wanted


@case("softmax")
def softmax(draw: Draw) -> tuple[dict[str, Any], Any]:
    x = values(draw, shape(draw)) * 20
    axis = whole(draw, -x.ndim, x.ndim - 1)
    return {"x": x, "axis": np.int32(axis)}, torch.softmax(torch.from_numpy(x), axis)


@case("layer_norm")
def layer_norm(draw: Draw) -> tuple[dict[str, Any], Any]:
    x = values(draw, shape(draw, 2, 4))
    count = whole(draw, 1, x.ndim - 1)
    sizes = x.shape[-count:]
    gamma, beta = values(draw, sizes), values(draw, sizes)
    wanted = F.layer_norm(*(torch.from_numpy(x), sizes), *map(torch.from_numpy, (gamma, beta)), eps=1e-3)
    axes = vector(range(x.ndim - count, x.ndim))
    return {"x": x, "axes": axes, "gamma": gamma, "beta": beta, "epsilon": np.float32(1e-3)}, wanted


@case("batch_norm")
def batch_norm(draw: Draw) -> tuple[dict[str, Any], Any]:
    x = values(draw, (1, whole(draw, 1, 4), whole(draw, 1, 4), whole(draw, 1, 4)))
    mean, gamma, beta = (values(draw, (x.shape[1],)) for _ in range(3))
    variance = np.abs(values(draw, (x.shape[1],))) + np.float32(0.1)
    tensors = map(torch.from_numpy, (x, mean, variance, gamma, beta))
    arguments = {
        "mean": mean,
        "variance": variance,
        "gamma": gamma,
        "beta": beta,
        "epsilon": np.float32(1e-3),
    }
    return {"x": x, **arguments}, F.batch_norm(*tensors, eps=1e-3)


@case("upsample_bilinear")
def upsample_bilinear(draw: Draw) -> tuple[dict[str, Any], Any]:
    x = values(draw, (1, whole(draw, 1, 3), 2 * whole(draw, 1, 4), 2 * whole(draw, 1, 4)))
    down, across = (draw(st.sampled_from([0.5, 1.0, 2.0, 3.0])) for _ in range(2))
    corners = bool(draw(st.booleans()))
    size = [int(x.shape[2] * down), int(x.shape[3] * across)]
    wanted = F.interpolate(torch.from_numpy(x), size=size, mode="bilinear", align_corners=corners)
    arguments = {"scale_factor_height": np.float32(down), "scale_factor_width": np.float32(across)}
    return {"x": x, **arguments, "align_corners": corners}, wanted


@case("upsample_nearest_neighbor")
def upsample_nearest_neighbor(draw: Draw) -> tuple[dict[str, Any], Any]:
    x = values(draw, (1, 2, whole(draw, 1, 4), whole(draw, 1, 4)))
    factors = {"scale_factor_height": np.float32(2), "scale_factor_width": np.float32(3)}
    return {"x": x, **factors}, F.interpolate(torch.from_numpy(x), scale_factor=(2, 3), mode="nearest")


@case("quantize")
def quantize(draw: Draw) -> tuple[dict[str, Any], Any]:
    x, zero = values(draw, shape(draw)) * 5, whole(draw, -20, 20)
    wanted = torch.fake_quantize_per_tensor_affine(torch.from_numpy(x), 0.05, zero, -128, 127)
    wanted = ((wanted / 0.05).round() + zero).to(torch.int8)
    return {
        "input": x,
        "scale": np.float32(0.05),
        "zero_point": np.int8(zero),
        "output_dtype": "int8",
    }, wanted


@case("dequantize", "constexpr_affine_dequantize", "constexpr_blockwise_shift_scale")
def dequantize(draw: Draw) -> tuple[dict[str, Any], Any]:
    sizes = shape(draw, 2, 4)
    data = np.random.default_rng(whole(draw, 0, 999)).integers(-128, 128, sizes).astype(np.int8)
    scale = values(draw, sizes[:1], positive=True)
    zero = np.full(sizes[0], whole(draw, -9, 9), np.int8)
    column = (-1, *(1,) * (len(sizes) - 1))
    wanted = (
        torch.from_numpy(data).float() - torch.from_numpy(zero).float().reshape(column)
    ) * torch.from_numpy(scale).reshape(column)
    affine = {"scale": scale, "zero_point": zero, "axis": np.int32(0)}
    arguments = {
        "dequantize": {"input": data, **affine},
        "constexpr_affine_dequantize": {"quantized_data": data, **affine},
        "constexpr_blockwise_shift_scale": {
            "data": data,
            "scale": scale.reshape(column),
            "offset": zero.reshape(column),
        },
    }
    return {"*": arguments}, wanted
