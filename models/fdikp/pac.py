"""PAC: position adaptive convolution. A few kernels per image become one kernel per pixel."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .variants import Variant


def apply_kernels(images: Tensor, kernels: Tensor, dilation: int) -> Tensor:
    """Correlate every channel of every image with each of that image's own kernels.

    ``images`` [B, M, H, W], ``kernels`` [B, N, k, k]; returns [B, M, N, H, W]. Borders are replicated.
    The weights of this convolution are values computed at run time, which is what makes it hard to deploy.
    """
    b, m, h, w = images.shape
    n, k = kernels.shape[1], kernels.shape[-1]
    pad = dilation * (k // 2)
    padded = F.pad(images, (pad, pad, pad, pad), mode="replicate").reshape(1, b * m, h + 2 * pad, w + 2 * pad)
    weight = kernels[:, None].expand(b, m, n, k, k).reshape(b * m * n, 1, k, k)
    return F.conv2d(padded, weight, dilation=dilation, groups=b * m).reshape(b, m, n, h, w)


def neighbourhoods(images: Tensor, size: int, dilation: int) -> Tensor:
    """Gather the ``size`` x ``size`` neighbours of every pixel: [B, M, H, W] to [B, M, size, size, H, W].

    Borders are replicated. Every pixel is held ``size`` squared times: fine for training only.
    """
    b, m, h, w = images.shape
    pad = dilation * (size // 2)
    padded = F.pad(images, (pad, pad, pad, pad), mode="replicate")
    return F.unfold(padded, size, dilation=dilation).reshape(b, m, size, size, h, w)


class PositionAdaptiveConv(nn.Module):
    """Deconvolve the blurred image and the previous estimate with a kernel of their own at every pixel.

    ``images`` [B, 6, H, W] holds both images (RGB each), ``kernels`` [B, N, k, k] comes from DIKP, ``guide``
    [B, C, H, W] are full-resolution features. For each image and pixel a softmax over all (kernel, dilation)
    pairs says how much of each to take. Returns [B, 6 * dilations, H, W]: one group of six channels per
    dilation, to be added up (the sum is the deconvolved image) or, as DSRM does, mixed by a 1x1 convolution.

    "assemble" filters with whole kernels, then mixes the results per pixel; the sum keeps a flat image flat.
    "modulate" also scales the taps per pixel by u_i(p) v_j(p), shared by images and dilations.
    """

    def __init__(self, variant: Variant) -> None:
        """Build for ``variant``."""
        super().__init__()
        self.kernels, self.size, self.dilations = variant.kernels, variant.kernel_size, variant.dilations
        self.attention = nn.Conv2d(variant.channels, 2 * self.kernels * len(self.dilations), 3, padding=1)
        self.modulation: nn.Conv2d | None = None
        if variant.pac == "modulate":
            self.modulation = nn.Conv2d(variant.channels, 2 * self.size, 3, padding=1)

    def forward(self, images: Tensor, kernels: Tensor, guide: Tensor) -> Tensor:
        """Return the deconvolved images, one group of channels per dilation."""
        shares = self.shares(guide)
        if self.modulation is None:
            parts = [
                self.assemble(images, kernels, shares[:, :, d], dilation)
                for d, dilation in enumerate(self.dilations)
            ]
        else:
            u, v = (1 + 0.5 * torch.tanh(self.modulation(guide))).chunk(2, dim=1)
            taps = u[:, :, None] * v[:, None, :]  # [B, k, k, H, W]
            parts = [
                self.modulate(images, kernels, shares[:, :, d], taps, dilation)
                for d, dilation in enumerate(self.dilations)
            ]
        return torch.cat(parts, dim=1)

    def shares(self, guide: Tensor) -> Tensor:
        """Return the softmax weights [B, 2, dilations, N, H, W]; per image and pixel they sum to 1."""
        b, _, h, w = guide.shape
        pairs = len(self.dilations) * self.kernels
        weights = torch.softmax(self.attention(guide).reshape(b, 2, pairs, h, w), dim=2)
        return weights.reshape(b, 2, len(self.dilations), self.kernels, h, w)

    def assemble(self, images: Tensor, kernels: Tensor, shares: Tensor, dilation: int) -> Tensor:
        """Mix the images filtered by each kernel; ``shares`` [B, 2, N, H, W]. Returns [B, 6, H, W]."""
        b, _, h, w = images.shape
        filtered = apply_kernels(images, kernels, dilation).reshape(b, 2, 3, self.kernels, h, w)
        return (filtered * shares[:, :, None]).sum(dim=3).reshape(b, 6, h, w)

    def modulate(
        self, images: Tensor, kernels: Tensor, shares: Tensor, taps: Tensor, dilation: int
    ) -> Tensor:
        """Build the kernel of every pixel and apply it; ``taps`` [B, k, k, H, W]. Returns [B, 6, H, W]."""
        b, _, h, w = images.shape
        k = self.size
        own = torch.einsum("bsnhw,bnij->bsijhw", shares, kernels) * taps[:, None]
        around = neighbourhoods(images, k, dilation).reshape(b, 2, 3, k * k, h, w)
        return (around * own.reshape(b, 2, 1, k * k, h, w)).sum(dim=3).reshape(b, 6, h, w)
