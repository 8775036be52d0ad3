"""DSRM: fuse features, deconvolved images and the memory of coarser scales into a sharper image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import conv3, dual_domain_blocks
from .variants import Variant

#: Hidden and cell state of the recurrence, each [B, 2C, h/2, w/2].
State = tuple[Tensor, Tensor]


class LayerNorm2d(nn.Module):
    """Layer normalisation over the channels of each pixel, [B, C, H, W] to the same shape."""

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        """Build for ``channels`` channels; ``eps`` is added to the variance."""
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``x``."""
        centred = x - x.mean(dim=1, keepdim=True)
        variance = (centred * centred).mean(dim=1, keepdim=True)
        normal = centred / torch.sqrt(variance + self.eps)
        return normal * self.weight[:, None, None] + self.bias[:, None, None]


class ConvLSTM(nn.Module):
    """A convolutional LSTM cell whose time runs from coarse to fine scale.

    Input and both states are [B, C, H, W]. One 3x3 convolution gives the input, forget and output gates and
    the candidate, in this order.
    """

    def __init__(self, channels: int, *, separable: bool) -> None:
        """Build for an input and states of ``channels`` channels."""
        super().__init__()
        self.gates = conv3(2 * channels, 4 * channels, separable=separable)

    def forward(self, x: Tensor, state: State) -> State:
        """Return the new (hidden, cell) after seeing ``x``."""
        hidden, cell = state
        i, f, o, g = self.gates(torch.cat([x, hidden], dim=1)).chunk(4, dim=1)
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(cell), cell


class DualDomainRefiner(nn.Module):
    """Decoder of one scale: from features of three levels to the residual of the sharp image.

    ``f0`` [B, C, h, w], ``f1`` [B, 2C, h/2, w/2], ``f2`` [B, 4C, h/4, w/4], ``deconvolved``
    [B, 6 * dilations, h, w], ``state`` of this scale. Returns the residual [B, 3, h, w] and the new state.
    """

    def __init__(self, variant: Variant) -> None:
        """Build for ``variant``."""
        super().__init__()
        c, (n0, n1, n2), modes, sep = variant.channels, variant.blocks, variant.fourier, variant.separable
        self.refine2 = dual_domain_blocks(n2, 4 * c, modes[2], separable=sep)
        self.up1 = nn.Conv2d(4 * c, 8 * c, 1)
        self.fuse1 = nn.Conv2d(4 * c, 2 * c, 1)
        self.refine1 = dual_domain_blocks(n1, 2 * c, modes[1], separable=sep)
        self.norm = LayerNorm2d(2 * c)
        self.memory = ConvLSTM(2 * c, separable=sep)
        self.up0 = nn.Conv2d(4 * c, 4 * c, 1)
        self.fuse0 = nn.Conv2d(2 * c + 6 * len(variant.dilations), c, 1)
        self.refine0 = dual_domain_blocks(n0, c, modes[0], separable=sep)
        self.out = nn.Conv2d(c, 3, 3, padding=1)

    def forward(
        self, f0: Tensor, f1: Tensor, f2: Tensor, deconvolved: Tensor, state: State
    ) -> tuple[Tensor, State]:
        """Return (residual image, new state)."""
        g = F.pixel_shuffle(self.up1(self.refine2(f2)), 2)
        g = self.refine1(self.fuse1(torch.cat([g, f1], dim=1)))
        hidden, cell = self.memory(self.norm(g), state)
        g = F.pixel_shuffle(self.up0(torch.cat([g, hidden], dim=1)), 2)
        g = self.refine0(self.fuse0(torch.cat([g, f0, deconvolved], dim=1)))
        return self.out(g), (hidden, cell)
