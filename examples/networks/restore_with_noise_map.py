"""A restorer with two inputs: a noisy picture, and a map that says how strong the noise is at each pixel.

A network of two inputs brings its own samples, since the toolkit cannot guess what belongs together: here
pieces of photos with noise of a strength that grows from left to right. Build it::

    fdikp-edge deploy --model examples/networks/restore_with_noise_map.py --size 128x128

The weights are initial ones from a fixed seed: the stronger the noise, the more the picture is smoothed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from fdikp_edge.models.sources import NetworkSource, Sample, SizeRequirements, TensorSpec, photo_crops
from torch import Tensor, nn

STRONGEST = 0.2
"""Standard deviation of the strongest noise, on a 0 to 1 scale."""


class Restorer(nn.Module):
    """Mix a picture with its low-pass, more of that where there is more noise, and correct the result."""

    def __init__(self, channels: int = 16) -> None:
        """Draw weights so small that the first correction is small."""
        super().__init__()
        self.width = nn.Parameter(torch.tensor(0.15))
        self.enter = nn.Conv2d(7, channels, 3, padding=1)
        self.leave = nn.Conv2d(channels, 3, 3, padding=1)
        nn.init.normal_(self.leave.weight, std=0.02)
        nn.init.zeros_(self.leave.bias)

    def forward(self, picture: Tensor, noise: Tensor) -> Tensor:
        """Map a picture [N, 3, H, W] and a map [N, 1, H, W] to a picture."""
        height, width = picture.shape[-2:]
        rows = torch.fft.fftfreq(height, device=picture.device)[:, None]
        columns = torch.fft.rfftfreq(width, device=picture.device)[None, :]
        low_pass = torch.exp(-(rows.square() + columns.square()) / self.width.square())
        smooth = torch.fft.irfft2(torch.fft.rfft2(picture) * low_pass, s=(height, width))
        share = torch.tanh(noise / STRONGEST)
        mixed = picture + share * (smooth - picture)
        correction: Tensor = self.leave(torch.relu(self.enter(torch.cat([picture, smooth, noise], 1))))
        return mixed + correction


def samples(specs: Sequence[TensorSpec]) -> list[Sample]:
    """Return pieces of photos with noise, and its strength at each pixel."""
    picture, noise = specs
    generator = np.random.default_rng(0)
    drawn = []
    for n, clean in enumerate(photo_crops(picture, 12)):
        strength = np.broadcast_to(
            np.linspace(0, STRONGEST * (n + 1) / 12, clean.shape[-1], dtype=np.float32), clean[:, :1].shape
        )
        noisy = clean + strength * generator.standard_normal(clean.shape).astype(np.float32)
        arrays = {picture.name: noisy.clip(0, 1), noise.name: np.ascontiguousarray(strength)}
        drawn.append(Sample(f"photo {n} with noise", arrays))
    return drawn


def make() -> Restorer:
    """Return the network with the weights of seed 0."""
    torch.manual_seed(0)
    return Restorer()


source = NetworkSource(
    name="restore-with-noise-map",
    spec="examples/networks/restore_with_noise_map.py",
    load=make,
    inputs=(
        TensorSpec("picture", (1, 3, None, None), layout="NCHW", color="RGB"),
        TensorSpec("noise", (1, 1, None, None), value_range=(0.0, STRONGEST)),
    ),
    outputs=("restored",),
    sizes=SizeRequirements(minimum=16, multiple_of=2),
    samples=samples,
    scale=1,
    trained=False,
    note="initial weights of seed 0",
)
