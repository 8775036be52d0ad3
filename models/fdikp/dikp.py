"""DIKP: predict a few inverse blur kernels per image, from its features and from their spectrum."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .blocks import activation
from .spectrum import project_hermitian, to_overlapping_windows
from .variants import Variant

WELCH_WINDOW = 16
#: Keeps the amplitude away from zero, where the phase features re/A and im/A would amplify rounding.
AMPLITUDE_EPSILON = 1e-4


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Two linear layers with one activation between them."""
    return nn.Sequential(nn.Linear(inputs, hidden), activation(), nn.Linear(hidden, outputs))


class KernelPredictor(nn.Module):
    """Features [B, 4C, h, w] to inverse kernels [B, N, k, k], each with taps that sum to 1.

    The spatial branch pools convolved features; the frequency branch pools amplitude and phase of their
    spectrum and predicts the kernels as half spectra. A gate per kernel and image blends both.
    """

    delta: Tensor

    def __init__(self, variant: Variant) -> None:
        """Build for ``variant``."""
        super().__init__()
        features, width = 4 * variant.channels, variant.descriptor
        self.kernels, self.size = variant.kernels, variant.kernel_size
        self.whole_map = variant.frequency == "global"
        half = self.size // 2 + 1
        self.spatial = nn.Sequential(
            nn.Conv2d(features, width, 3, padding=1),
            activation(),
            nn.Conv2d(width, width, 3, padding=1),
            activation(),
        )
        self.spatial_head = mlp(width, 2 * width, self.kernels * self.size**2)
        self.reduce = nn.Conv2d(features, width, 1)
        self.frequency = nn.Sequential(
            nn.Conv2d(3 * width, width, 1),
            activation(),
            nn.Conv2d(width, width, 1),
            activation(),
        )
        self.frequency_head = mlp(width, 2 * width, self.kernels * 2 * self.size * half)
        self.gate = nn.Linear(2 * width, self.kernels)
        delta = torch.zeros(self.size, self.size)
        delta[self.size // 2, self.size // 2] = 1.0
        self.register_buffer("delta", delta, persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return the kernels predicted for ``features``."""
        from_space = self.spatial(features).mean(dim=(-2, -1))
        from_spectrum = self.describe_spectrum(features)
        spatial = self.spatial_head(from_space).reshape(-1, self.kernels, self.size, self.size)
        frequency = self.kernels_from_spectra(self.frequency_head(from_spectrum))
        gate = torch.sigmoid(self.gate(torch.cat([from_space, from_spectrum], dim=1)))[:, :, None, None]
        taps = torch.tanh(gate * spatial + (1 - gate) * frequency)
        # Taps may be negative, as an inverse filter's are; taking their mean away keeps the brightness.
        return self.delta + taps - taps.mean(dim=(-2, -1), keepdim=True)

    def describe_spectrum(self, features: Tensor) -> Tensor:
        """Pool amplitude and phase of the spectrum of ``features`` into a descriptor [B, width]."""
        x = self.reduce(features)
        if self.whole_map:
            z = torch.fft.rfft2(x, norm="ortho")
        else:
            z = torch.fft.rfft2(to_overlapping_windows(x, WELCH_WINDOW), norm="ortho")
            z = z.flatten(4).flatten(2, 3)  # windows x frequencies, laid out as "space" for the convolutions
        re, im = z.real, z.imag
        amplitude = torch.sqrt(re * re + im * im + AMPLITUDE_EPSILON)
        stacked = torch.cat([torch.log1p(amplitude), re / amplitude, im / amplitude], dim=1)
        described: Tensor = self.frequency(stacked).mean(dim=(-2, -1))
        return described

    def kernels_from_spectra(self, values: Tensor) -> Tensor:
        """Turn predicted half spectra, [B, N*2*k*(k//2+1)] values, into centred kernels [B, N, k, k]."""
        k = self.size
        re, im = values.reshape(-1, self.kernels, 2, k, k // 2 + 1).unbind(dim=2)
        z = project_hermitian(torch.complex(re, im), k)
        centred: Tensor = torch.fft.fftshift(torch.fft.irfft2(z, s=(k, k)), dim=(-2, -1))
        return centred
