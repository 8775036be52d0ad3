"""What every level of FDIKP is made of: 3x3 convolutions, the Fourier unit, the dual-domain block."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .spectrum import from_windows, project_hermitian, to_windows
from .variants import FourierMode

WINDOW = 8


def activation() -> nn.Module:
    """Return the one non-linearity used between convolutions."""
    return nn.LeakyReLU(0.1)


def conv3(inputs: int, outputs: int, *, separable: bool, stride: int = 1) -> nn.Module:
    """3x3 convolution keeping the size (halving it with ``stride=2``), dense or depthwise-separable."""
    if not separable:
        return nn.Conv2d(inputs, outputs, 3, stride, padding=1)
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, stride, padding=1, groups=inputs),
        nn.Conv2d(inputs, outputs, 1),
    )


class FourierUnit(nn.Module):
    """1x1 convolutions on the spectrum of the whole map: each sees every pixel at once.

    [B, C, H, W] to the same shape. Real and imaginary parts are stacked as 2C channels, so that the two
    convolutions mix them freely (the DeepRFT pattern); the result is projected back to a valid half spectrum.
    """

    def __init__(self, channels: int) -> None:
        """Build for maps of ``channels`` channels."""
        super().__init__()
        self.mix = nn.Sequential(
            nn.Conv2d(2 * channels, 2 * channels, 1),
            activation(),
            nn.Conv2d(2 * channels, 2 * channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Filter ``x`` in the frequency domain."""
        height, width = x.shape[-2:]
        z = torch.fft.rfft2(x, norm="ortho")
        re, im = self.mix(torch.cat([z.real, z.imag], dim=1)).chunk(2, dim=1)
        z = project_hermitian(torch.complex(re, im), width)
        filtered: Tensor = torch.fft.irfft2(z, s=(height, width), norm="ortho")
        return filtered


class WindowedFourierUnit(FourierUnit):
    """The same on 8x8 windows, each with its own spectrum: local, and cheap at any image size.

    [B, C, H, W] to the same shape; H and W are multiples of 8.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Filter each window of ``x`` in the frequency domain."""
        z = torch.fft.rfft2(to_windows(x, WINDOW), norm="ortho")
        stacked = torch.cat([z.real, z.imag], dim=1)  # [B, 2C, rows, columns, 8, 5]
        # An ordinary 1x1 convolution applies when windows and frequencies are both laid out as "space".
        mixed = self.mix(stacked.flatten(4).flatten(2, 3)).reshape(stacked.shape)
        re, im = mixed.chunk(2, dim=1)
        z = project_hermitian(torch.complex(re, im), WINDOW)
        return from_windows(torch.fft.irfft2(z, s=(WINDOW, WINDOW), norm="ortho"))


def fourier_unit(channels: int, mode: FourierMode) -> FourierUnit | None:
    """Return the Fourier unit for one level, ``None`` where the level has none."""
    if mode == "none":
        return None
    return FourierUnit(channels) if mode == "global" else WindowedFourierUnit(channels)


class DualDomainBlock(nn.Module):
    """Residual block with a spatial branch and (unless ``mode`` is "none") a frequency branch.

    ``x + conv3(act(conv3(x))) + fourier(x)``, [B, C, H, W] to the same shape.
    """

    def __init__(self, channels: int, mode: FourierMode, *, separable: bool) -> None:
        """Build for ``channels`` channels; ``mode`` picks the frequency branch."""
        super().__init__()
        self.spatial = nn.Sequential(
            conv3(channels, channels, separable=separable),
            activation(),
            conv3(channels, channels, separable=separable),
        )
        self.fourier = fourier_unit(channels, mode)

    def forward(self, x: Tensor) -> Tensor:
        """Refine ``x`` in both domains."""
        y: Tensor = x + self.spatial(x)
        if self.fourier is not None:
            y = y + self.fourier(x)
        return y


def dual_domain_blocks(count: int, channels: int, mode: FourierMode, *, separable: bool) -> nn.Sequential:
    """Return ``count`` dual-domain blocks one after the other."""
    return nn.Sequential(*(DualDomainBlock(channels, mode, separable=separable) for _ in range(count)))
