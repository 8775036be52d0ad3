"""A small network with a transform in it, for tests of several rooms."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SIZE = (64, 64)


class SpectralNet(nn.Module):
    """Convolutions around a filter on the spectrum, whose mean is far above all else."""

    def __init__(self, norm: str = "ortho", gain: float = 1.0, mean: float = 1.0) -> None:
        super().__init__()
        self.norm, self.gain, self.mean = norm, gain, mean
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.head = nn.Conv2d(3, 16, 3, padding=1)
            self.mix = nn.Conv2d(32, 32, 1)
            self.tail = nn.Conv2d(16, 3, 3, padding=1)
            with torch.no_grad():
                self.mix.weight.copy_(torch.eye(32)[:, :, None, None])

    def forward(self, image: Tensor) -> Tensor:
        f = self.gain * (torch.relu(self.head(image)) + self.mean)
        z = torch.fft.rfft2(f, norm=self.norm)
        re, im = self.mix(torch.cat([z.real, z.imag], 1)).chunk(2, 1)
        f = torch.fft.irfft2(torch.complex(re, im), s=f.shape[-2:], norm=self.norm)
        return image + 0.3 * self.tail(f / self.gain - self.mean)
