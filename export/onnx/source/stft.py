"""``STFT``: a strided convolution, whose kernels hold the window and the matrix of the transform."""

from __future__ import annotations

import hashlib

import numpy as np

from .constants import Array
from .dft import DENSE, check_length
from .maker import LARGEST_MATRIX, Maker, Written
from .products import Transform


def rewrite_stft(maker: Maker, shape: tuple[int | None, ...]) -> Written:
    """Write the nodes of a short-time transform of a signal of ``shape``, whose length may be open.

    Raises:
        LoweringError: frames, a window or parts that no transform has, or kernels that would be too large.
        UnknownSizeError: the step, the frame's length or the parts are not known.
    """
    rank, value = len(shape), maker.node.input[0]
    parts = 1 if rank == 2 else shape[-1]  # torch's older exporter writes real signals without the parts
    if rank not in (2, 3) or parts not in (1, 2):
        if parts is None:
            raise maker.unknown("whether its signal is real or complex")
        raise maker.refused(f"its signal has the shape {list(shape)}, not batch, length and 1 or 2")
    one_sided = bool(maker.options.get("onesided", 1))
    if one_sided and parts == 2:
        raise maker.refused("a one-sided transform takes real values")
    step = maker.scalar(1, "frame_step", None)
    window = maker.node.input[2] if len(maker.node.input) > 2 else ""
    known = _window_shape(maker, window)
    length = maker.scalar(3, "frame_length", shape[1] if known is None else known[0])
    if known is not None and known != (length,):
        raise maker.refused(f"its window has the shape {list(known)}, and a frame {length} samples")
    check_length(maker, length, length)
    signal = shape[1]
    if step < 1 or (signal is not None and signal < length):
        raise maker.refused(f"frames of {length} samples every {step} do not fit a signal of {signal}")
    transform = Transform(length, length, length // 2 + 1 if one_sided else length, parts, 2, inverse=False)
    if transform.bytes > LARGEST_MATRIX:
        raise maker.refused(
            f"its kernels for {length} points would have {transform.bytes >> 20} MB; at most "
            f"{LARGEST_MATRIX >> 20} MB are written. Choose shorter frames"
        )
    if rank == 2:
        value = maker.add("Unsqueeze", [value, maker.sizes([1])], "channels")
    else:
        value = maker.add("Transpose", [value], "channels", perm=[0, 2, 1])
    kernels = _kernels(maker, transform, window)
    value = maker.add("Conv", [value, kernels], "product", kernel_shape=[length], strides=[step])
    value = maker.add("Transpose", [value], "frames", perm=[0, 2, 1])
    maker.add("Reshape", [value, maker.sizes([0, 0, transform.kept, 2])], "parts", last=True)
    return Written(maker.nodes, transform, (length,), 0, DENSE, transform.bytes, transform.bytes // 4)


def _window_shape(maker: Maker, window: str) -> tuple[int, ...] | None:
    if not window:
        return None
    value = maker.scope.value(window)
    shape = maker.scope.type_of(window).shape if value is None else value.shape
    if shape is None or None in shape:
        raise maker.unknown(f"the length of its window {window!r:.80}")
    if len(shape) != 1:
        raise maker.refused(f"its window has the shape {list(shape)}, not one dimension")
    return tuple(size for size in shape if size is not None)


def _kernels(maker: Maker, transform: Transform, window: str) -> str:
    """Return the name of the convolution's weights [kept * 2, parts, length], with the window inside."""

    def plain() -> Array:
        kernels = transform.matrix().transpose(2, 3, 1, 0)
        flat: Array = kernels.reshape(-1, transform.parts_in, transform.length)
        return flat

    key = f"stft_{transform.name}"
    if not window:
        return maker.constant(key, plain)
    values = maker.scope.value(window)
    if values is None:
        return maker.add("Mul", [maker.constant(key, plain), window], "windowed")
    weights = values.astype(np.float64)
    digest = hashlib.sha256(weights.tobytes()).hexdigest()[:8]
    return maker.constant(f"{key}_{digest}", lambda: (plain() * weights).astype(np.float32))
