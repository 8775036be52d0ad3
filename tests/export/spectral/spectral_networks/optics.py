"""Deconvolution, registration and propagation: classical optics as layers."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .case import Network


def point_spread(size: int) -> Tensor:
    """A normalised Gaussian-like kernel, [size, size], a little off centre so that its phase matters."""
    axis = torch.arange(size) - size // 2
    spread = torch.exp(-((axis[:, None] - 0.3) ** 2 + 1.4 * (axis[None, :] + 0.2) ** 2) / 2)
    return spread / spread.sum()


class WienerFilter(nn.Module):
    """Wiener deconvolution: the kernel padded, rolled to the corner, transformed; a learned noise level."""

    def __init__(self, size: int = 5) -> None:
        super().__init__()
        self.register_buffer("kernel", point_spread(size))
        self.noise = nn.Parameter(torch.tensor(0.02))

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        size = self.kernel.shape[-1]
        padded = F.pad(self.kernel, (0, width - size, 0, height - size))
        padded = torch.roll(padded, shifts=(-(size // 2), -(size // 2)), dims=(0, 1))
        transfer = torch.fft.fft2(padded)
        restored = torch.conj(transfer) * torch.fft.fft2(x) / (torch.abs(transfer) ** 2 + self.noise)
        return torch.real(torch.fft.ifft2(restored))


class WienerFeatures(nn.Module):
    """Deep Wiener: the kernel an input, `s=` padding, power from `real` and `imag`, per-channel noise."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, channels, 3, padding=1)
        self.noise = nn.Parameter(torch.rand(channels, 1, 1) * 0.1 + 0.05)

    def forward(self, x: Tensor, kernel: Tensor) -> Tensor:
        size = x.shape[-2:]
        kernel = F.softmax(kernel.flatten(1), dim=1).view(kernel.shape)
        transfer = torch.fft.rfft2(kernel, s=size).unsqueeze(1)
        power = transfer.real.pow(2) + transfer.imag.pow(2)
        estimate = transfer.conj() / (power + self.noise)
        return torch.fft.irfft2(estimate * torch.fft.rfft2(self.features(x)), s=size)


class RichardsonLucy(nn.Module):
    """Three multiplicative updates, each with a transfer function and its conjugate."""

    def __init__(self, size: int = 5, iterations: int = 3) -> None:
        super().__init__()
        self.iterations = iterations
        self.register_buffer("kernel", point_spread(size))

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-2:]
        transfer = torch.fft.rfft2(self.kernel, s=size)
        estimate = torch.full_like(x, 0.5)
        for _ in range(self.iterations):
            blurred = torch.fft.irfft2(torch.fft.rfft2(estimate) * transfer, s=size)
            ratio = x / blurred.clamp_min(1e-2)
            estimate = estimate * torch.fft.irfft2(torch.fft.rfft2(ratio) * transfer.conj(), s=size)
        return estimate


class PhaseCorrelation(nn.Module):
    """The normalised cross-power spectrum of two images, back in space."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        cross = torch.fft.fft2(a) * torch.fft.fft2(b).conj()
        surface = torch.fft.ifft2(cross / (cross.abs() + 1e-3)).real
        return torch.fft.fftshift(surface, dim=(-2, -1))


class AmplitudeSwap(nn.Module):
    """Fourier domain adaptation: the low amplitudes of one image put under the phase of the other."""

    def __init__(self, reach: int = 2) -> None:
        super().__init__()
        self.reach = reach

    def forward(self, content: Tensor, style: Tensor) -> Tensor:
        spectrum, other = torch.fft.fft2(content), torch.fft.fft2(style)
        amplitude = torch.fft.fftshift(spectrum.abs(), dim=(-2, -1))
        donor = torch.fft.fftshift(other.abs(), dim=(-2, -1))
        row, col, r = content.shape[-2] // 2, content.shape[-1] // 2, self.reach
        amplitude[:, :, row - r : row + r + 1, col - r : col + r + 1] = donor[
            :, :, row - r : row + r + 1, col - r : col + r + 1
        ]
        amplitude = torch.fft.ifftshift(amplitude, dim=(-2, -1))
        return torch.fft.ifft2(torch.polar(amplitude, spectrum.angle()), dim=(-2, -1)).real


class PhaseExchange(nn.Module):
    """The same exchange written with `exp(1j * angle)`, and a phase taken without an angle."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        first, second = torch.fft.rfft2(a), torch.fft.rfft2(b)
        swapped = torch.abs(first) * torch.exp(1j * torch.angle(second))
        phase_only = second / (torch.abs(second) + 1e-2)
        mixed = swapped + 0.5 * torch.abs(first) * phase_only
        return torch.fft.irfft2(mixed, s=a.shape[-2:])


class AngularSpectrum(nn.Module):
    """Free-space propagation of a phase mask: a complex constant, and the intensity that arrives."""

    def __init__(self, height: int = 16, width: int = 14) -> None:
        super().__init__()
        fy, fx = torch.fft.fftfreq(height)[:, None], torch.fft.fftfreq(width)[None, :]
        self.register_buffer("transfer", torch.exp(1j * math.pi * 7.0 * (fy**2 + fx**2)))
        self.mask = nn.Parameter(torch.randn(height, width))

    def forward(self, x: Tensor) -> Tensor:
        field = x * torch.exp(1j * self.mask)
        field = torch.fft.ifft2(torch.fft.fft2(field) * self.transfer)
        return field.abs() ** 2


class LargeKernelConvolution(nn.Module):
    """The convolution theorem with `s=` padding: a learned kernel nearly as large as the image."""

    def __init__(self, channels: int = 3, size: int = 9) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(channels, size, size) / size)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        size = self.kernel.shape[-1]
        full = (height + size - 1, width + size - 1)
        product = torch.fft.rfft2(x, s=full) * torch.fft.rfft2(self.kernel, s=full)
        out = torch.fft.irfft2(product, s=full)
        start = size // 2
        return out[..., start : start + height, start : start + width]


class UnfoldedSolver(nn.Module):
    """The closed-form data step of unfolded super-resolution: blocks of spectra averaged and tiled."""

    def __init__(self, scale: int = 2) -> None:
        super().__init__()
        self.scale = scale
        self.alpha = nn.Parameter(torch.tensor(0.3))
        self.register_buffer("kernel", point_spread(5))

    def blocks(self, x: Tensor) -> Tensor:
        parts = torch.stack(torch.chunk(x, self.scale, dim=2), dim=4)
        return torch.cat(torch.chunk(parts, self.scale, dim=3), dim=4)

    def forward(self, x: Tensor, small: Tensor) -> Tensor:
        s, size = self.scale, x.shape[-2:]
        spread = torch.zeros_like(x)
        spread[..., ::s, ::s] = small
        transfer = torch.fft.fftn(self.kernel, s=size, dim=(-2, -1))[None, None].expand(1, x.shape[1], -1, -1)
        conjugate = torch.conj(transfer)
        right = conjugate * torch.fft.fftn(spread, dim=(-2, -1)) + torch.fft.fftn(
            self.alpha * x, dim=(-2, -1)
        )
        folded = torch.mean(self.blocks(transfer * right), dim=-1)
        power = torch.mean(self.blocks(torch.pow(torch.abs(transfer), 2)), dim=-1)
        quotient = folded.div(power + self.alpha)
        solution = (right - conjugate * quotient.repeat(1, 1, s, s)) / self.alpha
        return torch.real(torch.fft.ifftn(solution, dim=(-2, -1)))


NETWORKS = (
    Network("wiener_filter", WienerFilter, ((1, 3, 18, 21),), positive=True),
    Network("wiener_features", WienerFeatures, ((2, 3, 16, 16), (2, 7, 5)), positive=True),
    Network("richardson_lucy", RichardsonLucy, ((1, 3, 16, 20),), positive=True),
    Network("phase_correlation", PhaseCorrelation, ((1, 2, 16, 15), (1, 2, 16, 15)), positive=True),
    Network("amplitude_swap", AmplitudeSwap, ((1, 3, 14, 17), (1, 3, 14, 17)), positive=True),
    Network("phase_exchange", PhaseExchange, ((1, 3, 16, 18), (1, 3, 16, 18)), positive=True),
    Network("angular_spectrum", AngularSpectrum, ((1, 2, 16, 14),), positive=True),
    Network("large_kernel_convolution", LargeKernelConvolution, ((2, 3, 13, 16),)),
    Network("unfolded_solver", UnfoldedSolver, ((1, 3, 16, 12), (1, 3, 8, 6)), positive=True),
)
