"""Short-time transforms as one strided convolution with the transform's matrix, and back as its transpose.

``stft`` with a constant window is a convolution of stride ``hop`` whose kernels are the rows of the transform
times the window. ``istft`` is the transposed convolution, which overlaps and adds the frames, divided by the
window's envelope, a constant. A window that depends on an input is multiplied to the frames instead.

Definitions: torch.stft and torch.istft; Griffin and Lim, "Signal estimation from modified short-time Fourier
transform" (1984), for the envelope.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv1d, conv_transpose1d, pad

from ..graph import arguments
from ..pairs import Interleaved, Pair, Value, bilinear, divide, multiply, parts
from ..twiddles import rotation
from .portable import gather_frames
from .registry import Context, complex_rule, real_rule

ComplexMatrix = NDArray[np.complex128]


@dataclass(frozen=True)
class Frame:
    """The arguments that both directions share, defaults filled in."""

    n_fft: int
    hop: int
    win_length: int
    bins: int
    scale: float
    window: Value | None
    window_is_constant: bool

    @property
    def margin(self) -> tuple[int, int]:
        """Zeros before and after a window that is shorter than ``n_fft``."""
        left = (self.n_fft - self.win_length) // 2
        return left, self.n_fft - self.win_length - left

    def stored_window(self) -> NDArray[Any]:
        """The constant window in double precision, padded to ``n_fft``; complex if it is."""
        re, im = (None, None) if self.window is None else parts(self.window)
        values = np.ones(self.win_length) if re is None else re.detach().double().numpy()
        if im is not None:
            values = values + 1j * im.detach().double().numpy()
        return np.pad(values, self.margin)

    def runtime_window(self, dtype: torch.dtype) -> Value:
        """The window of an input, in parts of that dtype, padded to ``n_fft``."""
        return _each(cast("Value", self.window), lambda p: pad(_cast(p, dtype), self.margin))


@complex_rule("stft")
@real_rule("stft")
def _stft(context: Context, signal: Value, *given: Any, **named: Any) -> Pair | Interleaved:
    read = _read(context, given, named)
    dtype = context.real_dtype  # that of a window in double precision, where the signal's is narrower
    onesided = read["onesided"]
    if onesided is None:
        onesided = not isinstance(signal, Pair) and not isinstance(read["window"], Pair)
    n_fft = int(read["n_fft"])
    scale = n_fft**-0.5 if read["normalized"] else 1.0
    frame = _frame(context, read, n_fft // 2 + 1 if onesided else n_fft, scale)
    left, right = _signal_margin(frame, read)
    signal = _each(signal, lambda p: _cast(p, dtype))
    flat = _each(signal, lambda p: _padded(p.reshape(-1, p.shape[-1]), left, right, read.get("pad_mode")))
    if frame.window_is_constant:
        kernels = _constant(context, "kernels", lambda: _analysis(frame, True)[:, None, :], dtype)
        spectrum = _product(lambda x, w: conv1d(x, w, stride=frame.hop), _each(flat, _one_channel), kernels)
    else:
        frames = _each(flat, lambda p: gather_frames(context, p, 1, n_fft, frame.hop))
        rows = _constant(context, "rows", lambda: _analysis(frame, False).T, dtype)
        spectrum = _product(torch.matmul, multiply_any(frames, frame.runtime_window(dtype)), rows)
        spectrum = spectrum.map(lambda p: p.transpose(1, 2))
    if parts(signal)[0].dim() == 1:
        spectrum = spectrum.map(lambda p: p.squeeze(0))
    return spectrum if context.produced.is_complex() else Interleaved(spectrum)


@complex_rule("istft")
@real_rule("istft")
def _istft(context: Context, spectrum: Pair, *given: Any, **named: Any) -> Tensor | Pair:
    read = _read(context, given, named)
    n_fft, to_complex = int(read["n_fft"]), bool(read["return_complex"])
    scale = n_fft**-0.5 if read["normalized"] else 1.0 / n_fft
    frame = _frame(context, read, n_fft if to_complex else n_fft // 2 + 1, scale)
    lone = spectrum.re.dim() == 2
    dtype = context.real_dtype
    z = spectrum.map(lambda p: _cast((p.unsqueeze(0) if lone else p).narrow(1, 0, frame.bins), dtype))
    count = z.re.shape[2]
    whole = n_fft + frame.hop * (count - 1)
    start = n_fft // 2 if read["center"] else 0
    wanted = context.produced.shape[-1]
    kept = min(wanted, whole - start)

    def add_up(kernels: Value, channels: Value) -> Value:
        return _product_any(lambda x, w: conv_transpose1d(x, w, stride=frame.hop), channels, kernels)

    if frame.window_is_constant:
        weights = _constant(context, "kernels", lambda: _synthesis(frame, True)[:, None, :], dtype)
        signal = _synthesise(z, weights, add_up, to_complex)
        signal = _each(signal, lambda p: p.narrow(2, start, kept))
        envelope = _constant(
            context, "envelope", lambda: 1.0 / _envelope(frame, count)[start : start + kept], dtype
        )
        signal = multiply_any(signal, envelope)
    else:
        rows = _constant(context, "rows", lambda: _synthesis(frame, False), dtype)
        turned = z.map(lambda p: p.transpose(1, 2))
        frames = _synthesise(turned, rows, lambda w, x: _product_any(torch.matmul, x, w), to_complex)
        window = frame.runtime_window(dtype)
        eye = context.bank.get(f"frames_of_{n_fft}", lambda: np.eye(n_fft)[:, None, :], dtype)

        def place(p: Tensor) -> Tensor:
            return conv_transpose1d(p.transpose(1, 2), eye, stride=frame.hop)

        squares = _each(multiply_any(window, window), lambda p: p.expand(1, count, n_fft))
        signal = _each(multiply_any(frames, window), lambda p: place(p).narrow(2, start, kept))
        signal = _divide_any(signal, _each(squares, lambda p: place(p).narrow(2, start, kept)))
    shape = tuple(context.produced.shape)
    signal = _each(signal, lambda p: pad(p, (0, wanted - kept)).reshape(shape))
    return cast("Tensor | Pair", signal if to_complex else parts(signal)[0])


def _read(context: Context, given: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
    declared = context.operator._schema.arguments[1:]
    values = {a.name: a.default_value for a in declared}
    values.update(zip((a.name for a in declared), given, strict=False))
    return {**values, **named}


def _frame(context: Context, read: dict[str, Any], bins: int, scale: float) -> Frame:
    n_fft = int(read["n_fft"])
    names = [a.name for a in context.operator._schema.arguments]
    node = arguments(context.node)[names.index("window")]
    hop = read["hop_length"]
    win_length = read["win_length"] or n_fft
    constant = node is None or context.is_constant(node)
    return Frame(n_fft, hop or n_fft // 4, int(win_length), bins, scale, read["window"], constant)


def _signal_margin(frame: Frame, read: dict[str, Any]) -> tuple[int, int]:
    """Samples to add before and after the signal."""
    if read.get("center"):
        return frame.n_fft // 2, frame.n_fft // 2
    if read.get("align_to_window"):
        return frame.margin
    return 0, 0


def _padded(part: Tensor, left: int, right: int, mode: Any) -> Tensor:
    if not left and not right:
        return part
    mode = mode or "constant"
    return pad(part.unsqueeze(1), (left, right), mode).squeeze(1)


def _analysis(frame: Frame, with_window: bool) -> ComplexMatrix:
    """Rows ``exp(-2 pi i k n / N) w[n]`` times the scale, [bins, n_fft]."""
    cos, sin = rotation(np.arange(frame.bins), np.arange(frame.n_fft), frame.n_fft)
    window = frame.stored_window() if with_window else 1.0
    return cast("ComplexMatrix", (cos - 1j * sin) * window * frame.scale)


def _synthesis(frame: Frame, with_window: bool) -> ComplexMatrix:
    """Rows ``exp(2 pi i k n / N) w[n]`` times the scale; from a half spectrum the mirrored bins count too."""
    cos, sin = rotation(np.arange(frame.bins), np.arange(frame.n_fft), frame.n_fft)
    bins = np.arange(frame.bins)
    whole = frame.bins == frame.n_fft
    own_mirror = whole | (bins == 0) | (2 * bins == frame.n_fft)
    weight = np.where(own_mirror, 1.0, 2.0)[:, None]
    imaginary = sin if whole else np.where(own_mirror[:, None], 0.0, sin)
    window = frame.stored_window() if with_window else 1.0
    return cast("ComplexMatrix", (cos + 1j * imaginary) * weight * window * frame.scale)


def _envelope(frame: Frame, count: int) -> NDArray[Any]:
    square = frame.stored_window() ** 2
    envelope = np.zeros(frame.n_fft + frame.hop * (count - 1), square.dtype)
    for index in range(count):
        envelope[index * frame.hop : index * frame.hop + frame.n_fft] += square
    return envelope


def _constant(context: Context, name: str, build: Any, dtype: torch.dtype) -> Value:
    """A complex (or real) matrix in the bank, built once, when the lowered network first runs on tensors."""
    key = f"{context.node.name}_{name}"
    re = context.bank.get(f"{key}_re", lambda: np.real(build()), dtype)
    im = context.bank.get(f"{key}_im", lambda: np.imag(build()) + np.zeros(1), dtype)
    return Pair(re, im)


def _synthesise(z: Pair, weights: Any, product: Any, to_complex: bool) -> Value:
    """``sum z w``: the whole product, or its real part alone in two products."""
    if to_complex:
        return cast("Value", product(weights, z))
    return cast("Value", product(weights.re, z.re) - product(weights.im, z.im))


def _product(function: Any, a: Value, b: Value) -> Pair:
    return bilinear(function, a, b)


def _product_any(function: Any, a: Value, b: Value) -> Value:
    if isinstance(a, Pair) or isinstance(b, Pair):
        return bilinear(function, a, b)
    return cast("Value", function(a, b))


def multiply_any(a: Value, b: Value) -> Value:
    """``a b``, real where both are."""
    if isinstance(a, Pair) or isinstance(b, Pair):
        return multiply(a, b)
    return a * b


def _divide_any(a: Value, b: Value) -> Value:
    return divide(a, b) if isinstance(a, Pair) or isinstance(b, Pair) else cast("Value", a / b)


def _each(value: Value, function: Any) -> Value:
    return value.map(function) if isinstance(value, Pair) else cast("Value", function(value))


def _one_channel(part: Tensor) -> Tensor:
    return part.unsqueeze(1)


def _cast(part: Tensor, dtype: torch.dtype) -> Tensor:
    return part if part.dtype == dtype else part.to(dtype)  # a cast to its own dtype would stay as a node
