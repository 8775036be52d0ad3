"""One-dimensional signals, analytic signals, cosine transforms and framing."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .case import Network


class HilbertEnvelope(nn.Module):
    """The analytic signal by doubling the positive frequencies, its envelope and its quadrature part."""

    def __init__(self, length: int = 27) -> None:
        super().__init__()
        gain = torch.zeros(length)
        gain[0] = 1
        gain[1 : (length + 1) // 2] = 2
        if length % 2 == 0:
            gain[length // 2] = 1
        self.register_buffer("gain", gain)

    def forward(self, x: Tensor) -> Tensor:
        analytic = torch.fft.ifft(torch.fft.fft(x) * self.gain)
        return torch.stack((analytic.abs(), analytic.imag), dim=1)


class RieszTransform(nn.Module):
    """The monogenic signal: two complex filters, local energy and orientation vector."""

    def __init__(self, height: int = 13, width: int = 16) -> None:
        super().__init__()
        fy, fx = torch.fft.fftfreq(height)[:, None], torch.fft.fftfreq(width)[None, :]
        radius = (fy**2 + fx**2).sqrt()
        radius[0, 0] = 1.0
        self.register_buffer("filters", torch.stack((-1j * fx / radius, -1j * fy / radius)))

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.fft2(x).unsqueeze(2)
        parts = torch.fft.ifft2(spectrum * self.filters).real
        energy = torch.sqrt(x.square() + parts.square().sum(dim=2) + 1e-4)
        return torch.cat((energy, parts.flatten(1, 2)), dim=1)


class Cepstrum(nn.Module):
    """The real cepstrum, liftered by learned weights."""

    def __init__(self, length: int = 24) -> None:
        super().__init__()
        self.lifter = nn.Parameter(torch.rand(length) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        cepstrum = torch.fft.irfft(torch.log(torch.fft.rfft(x).abs() + 1e-2), n=x.shape[-1])
        return cepstrum * self.lifter


class MinimumPhase(nn.Module):
    """A minimum-phase filter from a magnitude: folded cepstrum and the exponential of a complex spectrum."""

    def __init__(self, length: int = 20) -> None:
        super().__init__()
        fold = torch.zeros(length)
        fold[0], fold[length // 2] = 1, 1
        fold[1 : length // 2] = 2
        self.register_buffer("fold", fold)

    def forward(self, x: Tensor) -> Tensor:
        magnitude = torch.abs(torch.fft.fft(x)) + 0.1
        cepstrum = torch.fft.ifft(torch.log(magnitude)).real
        return torch.fft.ifft(torch.exp(torch.fft.fft(cepstrum * self.fold))).real


class CosineTransform(nn.Module):
    """The type-II cosine transform through one complex transform, thresholded, and back."""

    def __init__(self, length: int = 16) -> None:
        super().__init__()
        angle = -math.pi * torch.arange(length) / (2 * length)
        self.register_buffer("twiddle", torch.polar(torch.ones(length), angle))

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[-1]
        reordered = torch.cat((x[..., ::2], x[..., 1::2].flip(-1)), dim=-1)
        coefficients = 2 * (torch.fft.fft(reordered) * self.twiddle).real
        kept = F.softshrink(coefficients, lambd=0.1)
        tail = F.pad(kept[..., 1:].flip(-1), (1, 0))
        spectrum = torch.complex(kept, -tail) * self.twiddle.conj()
        even_odd = torch.fft.ifft(spectrum).real / 2
        half = (length + 1) // 2
        woven = torch.stack((even_odd[..., :half], even_odd[..., half:].flip(-1)), dim=-1)
        return woven.flatten(-2)


class FramedSpectrum(nn.Module):
    """Frames by `unfold`, a window, a zero-padded transform, mel-like bands and a logarithm."""

    def __init__(self, frame: int = 16, bands: int = 5) -> None:
        super().__init__()
        self.frame = frame
        self.register_buffer("window", torch.hann_window(frame))
        self.register_buffer("bank", torch.rand(25 // 2 + 1, bands))

    def forward(self, x: Tensor) -> Tensor:
        frames = x.unfold(-1, self.frame, self.frame // 2) * self.window
        power = torch.fft.rfft(frames, n=25).abs().pow(2)
        return torch.log10(torch.matmul(power, self.bank) + 1e-3)


class FramedFilter(nn.Module):
    """Frames masked in the spectrum and overlapped again: analysis and synthesis."""

    def __init__(self, frame: int = 8, hop: int = 4) -> None:
        super().__init__()
        self.frame, self.hop = frame, hop
        self.register_buffer("window", torch.hann_window(frame).sqrt())
        self.mask = nn.Conv1d(frame // 2 + 1, frame // 2 + 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        frames = x.unfold(-1, self.frame, self.hop) * self.window
        spectrum = torch.fft.rfft(frames, norm="ortho").transpose(1, 2)
        spectrum = spectrum * torch.sigmoid(self.mask(spectrum.abs()))
        frames = torch.fft.irfft(spectrum, n=self.frame, dim=1, norm="ortho") * self.window[:, None]
        first, second = frames[:, : self.hop], frames[:, self.hop :]
        overlapped = F.pad(first, (0, 1)) + F.pad(second, (1, 0))
        return overlapped.transpose(1, 2).flatten(1)


class HalfComplex(nn.Module):
    """`ihfft` of a real signal, a complex filter in between, `hfft` back to a real spectrum."""

    def __init__(self, length: int = 17) -> None:
        super().__init__()
        self.filter = nn.Parameter(torch.randn(length // 2 + 1, dtype=torch.cfloat))

    def forward(self, x: Tensor) -> Tensor:
        half = torch.fft.ihfft(x, norm="ortho")
        back = torch.fft.hfft(half * self.filter, n=x.shape[-1], norm="ortho")
        return back + torch.fft.hfft(half.conj(), n=x.shape[-1] + 3)[..., : x.shape[-1]]


class MiddleAxis(nn.Module):
    """Transforms along a middle axis, cropped by `n=` one way and padded the other."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.rand(6, 1) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        cropped = torch.fft.rfft(x, n=11, dim=1) * self.gain
        padded = torch.fft.fft(x, n=19, dim=-2)
        part = torch.fft.ifft(padded, n=13, dim=1, norm="forward")
        return torch.fft.irfft(cropped, n=13, dim=1) + part.real - 0.5 * part.imag


class LongConvolution(nn.Module):
    """A sequence layer whose kernel is as long as the sequence, doubled against wrap-around."""

    def __init__(self, channels: int = 4, length: int = 18) -> None:
        super().__init__()
        decay = torch.exp(-0.2 * torch.arange(length))
        self.kernel = nn.Parameter(torch.randn(channels, length) * decay)
        self.direct = nn.Parameter(torch.randn(channels))

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[-1]
        product = torch.fft.rfft(x, n=2 * length) * torch.fft.rfft(self.kernel, n=2 * length)
        return F.gelu(torch.fft.irfft(product, n=2 * length)[..., :length] + x * self.direct[:, None])


class DiagonalStateSpace(nn.Module):
    """A diagonal state-space layer: the kernel from powers of complex poles, applied by transform."""

    def __init__(self, channels: int = 3, states: int = 4, length: int = 16) -> None:
        super().__init__()
        self.length = length
        self.decay = nn.Parameter(torch.rand(channels, states))
        self.frequency = nn.Parameter(torch.rand(channels, states) * 3)
        self.output = nn.Parameter(torch.randn(channels, states, 2) * 0.5)
        self.register_buffer("time", torch.arange(length, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        pole = torch.complex(-torch.exp(self.decay) * 0.2, self.frequency)
        powers = torch.exp(pole[..., None] * self.time)
        kernel = 2 * torch.einsum("cs,csl->cl", torch.view_as_complex(self.output), powers).real
        product = torch.fft.rfft(x, n=2 * self.length) * torch.fft.rfft(kernel, n=2 * self.length)
        return torch.fft.irfft(product, n=2 * self.length)[..., : self.length]


NETWORKS = (
    Network("hilbert_envelope", HilbertEnvelope, ((2, 27),)),
    Network("riesz_transform", RieszTransform, ((1, 2, 13, 16),)),
    Network("cepstrum", Cepstrum, ((3, 24),)),
    Network("minimum_phase", MinimumPhase, ((2, 20),), positive=True),
    Network("cosine_transform", CosineTransform, ((2, 3, 16),)),
    Network("framed_spectrum", FramedSpectrum, ((2, 64),)),
    Network("framed_filter", FramedFilter, ((1, 40),)),
    Network("half_complex", HalfComplex, ((2, 3, 17),)),
    Network("middle_axis", MiddleAxis, ((2, 13, 5),)),
    Network("long_convolution", LongConvolution, ((2, 4, 18),)),
    Network("diagonal_state_space", DiagonalStateSpace, ((2, 3, 16),)),
)
