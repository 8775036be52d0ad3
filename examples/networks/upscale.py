"""Super-resolution by 2: a picture of H x W pixels becomes one of 2H x 2W.

Between two convolutions lies a Fourier unit (Chi, Jiang, Mu, "Fast Fourier Convolution", 2020): a convolution
over the real and imaginary parts of the spectrum, so that each pixel sees the whole picture. Build it::

    fdikp-edge deploy --model examples/networks/upscale.py --size 128x128

The weights are initial ones from a fixed seed: the result is a bilinear enlargement with small details added.
"""

from __future__ import annotations

import torch
from fdikp_edge.models.sources import NetworkSource, SizeRequirements, TensorSpec
from torch import Tensor, nn


class FourierUnit(nn.Module):
    """A 1x1 convolution over real and imaginary parts of the spectrum."""

    def __init__(self, channels: int) -> None:
        """Make a unit for ``channels`` feature maps."""
        super().__init__()
        self.mix = nn.Conv2d(2 * channels, 2 * channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        spectrum = torch.fft.rfft2(x, norm="ortho")
        parts = torch.relu(self.mix(torch.cat([spectrum.real, spectrum.imag], 1)))
        real, imaginary = parts.chunk(2, 1)
        return torch.fft.irfft2(torch.complex(real, imaginary), s=x.shape[-2:], norm="ortho")


class Upscaler(nn.Module):
    """Add details to a bilinear enlargement."""

    def __init__(self, channels: int = 16) -> None:
        """Draw weights so small that the first details are small."""
        super().__init__()
        self.enter = nn.Conv2d(3, channels, 3, padding=1)
        self.fourier = FourierUnit(channels)
        self.details = nn.Conv2d(channels, 3 * 4, 3, padding=1)
        self.enlarge = nn.PixelShuffle(2)
        nn.init.normal_(self.details.weight, std=0.002)
        nn.init.zeros_(self.details.bias)

    def forward(self, small: Tensor) -> Tensor:
        """Map a picture [N, 3, H, W], RGB from 0 to 1, to [N, 3, 2H, 2W]."""
        features = torch.relu(self.enter(small))
        features = features + self.fourier(features)
        details: Tensor = self.enlarge(self.details(features))
        return (
            nn.functional.interpolate(small, scale_factor=2, mode="bilinear", align_corners=False) + details
        )


def make() -> Upscaler:
    """Return the network with the weights of seed 0."""
    torch.manual_seed(0)
    return Upscaler()


source = NetworkSource(
    name="upscale",
    spec="examples/networks/upscale.py",
    load=make,
    inputs=(TensorSpec("small", (1, 3, None, None), layout="NCHW", color="RGB"),),
    outputs=("large",),
    sizes=SizeRequirements(minimum=16, multiple_of=2),
    scale=2,
    trained=False,
    note="initial weights of seed 0",
)
