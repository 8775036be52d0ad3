"""A denoiser for grey pictures: convolutions, and one learned filter over the whole spectrum.

Build it, with any size that is even::

    fdikp-edge deploy --model examples/networks/denoise_grey.py --size 128x128

The weights are initial ones from a fixed seed: the filter is a mild low-pass and the convolutions add little,
so the result is a slightly smoothed picture. Train the network before you use it.
"""

from __future__ import annotations

import torch
from fdikp_edge.models.sources import NetworkSource, SizeRequirements, TensorSpec
from torch import Tensor, nn


class SpectralGate(nn.Module):
    """Multiply each frequency by a gain that two 1x1 convolutions find from its magnitude and place."""

    def __init__(self, channels: int) -> None:
        """Make gates for ``channels`` feature maps."""
        super().__init__()
        self.gain = nn.Sequential(
            nn.Conv2d(channels + 1, channels, 1), nn.GELU(), nn.Conv2d(channels, channels, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        height, width = x.shape[-2:]
        spectrum = torch.fft.rfft2(x, norm="ortho")
        rows = torch.fft.fftfreq(height, device=x.device)[:, None]
        columns = torch.fft.rfftfreq(width, device=x.device)[None, :]
        radius = (rows.square() + columns.square()).sqrt().expand(x.shape[0], 1, -1, -1)
        gain = torch.sigmoid(self.gain(torch.cat([torch.log1p(spectrum.abs()), radius.to(x.dtype)], 1)))
        return torch.fft.irfft2(spectrum * gain, s=(height, width), norm="ortho")


class Denoiser(nn.Module):
    """Predict the noise and take it off."""

    def __init__(self, channels: int = 16) -> None:
        """Draw weights so small that the first estimate of the noise is small."""
        super().__init__()
        self.enter = nn.Conv2d(1, channels, 3, padding=1)
        self.gate = SpectralGate(channels)
        self.middle = nn.Conv2d(channels, channels, 3, padding=1)
        self.leave = nn.Conv2d(channels, 1, 3, padding=1)
        nn.init.normal_(self.leave.weight, std=0.02)
        nn.init.zeros_(self.leave.bias)

    def forward(self, noisy: Tensor) -> Tensor:
        """Map a picture [N, 1, H, W], black 0 and white 1, to the same shape."""
        features = torch.relu(self.enter(noisy))
        features = features + self.gate(features)
        noise: Tensor = self.leave(torch.relu(self.middle(features)))
        return noisy - noise


def make() -> Denoiser:
    """Return the network with the weights of seed 0."""
    torch.manual_seed(0)
    return Denoiser()


source = NetworkSource(
    name="denoise-grey",
    spec="examples/networks/denoise_grey.py",
    load=make,
    inputs=(TensorSpec("noisy", (1, 1, None, None), layout="NCHW", color="grey"),),
    outputs=("clean",),
    sizes=SizeRequirements(minimum=16, multiple_of=2),
    scale=1,
    trained=False,
    note="initial weights of seed 0",
)
