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
    "cos": torch.cos,
    "erf": torch.erf,
    "exp": torch.exp,
    "floor": torch.floor,
    "identity": torch.clone,
    "relu": torch.relu,
    "round": torch.round,
    "sigmoid": torch.sigmoid,
    "sign": torch.sign,
    "silu": F.silu,
    "sin": torch.sin,
    "softplus": F.softplus,
    "square": torch.square,
    "tanh": torch.tanh,
}
CASES.update({name: binary(function) for name, function in BINARY.items()})
CASES.update({name: unary(function, scale=4) for name, function in UNARY.items()})
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


@case("reduce_sum", "reduce_mean", "reduce_max", "reduce_min")
def reduce(draw: Draw) -> tuple[dict[str, Any], Any]:
    x, keep = values(draw, shape(draw)), bool(draw(st.booleans()))
    axes = sorted(draw(st.sets(st.integers(0, x.ndim - 1), min_size=1)))
    t = torch.from_numpy(x)
    functions = {
        "reduce_sum": torch.sum,
        "reduce_mean": torch.mean,
        "reduce_max": torch.amax,
        "reduce_min": torch.amin,
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
