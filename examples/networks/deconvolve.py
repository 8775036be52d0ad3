"""A learned Wiener deconvolution: a blurred picture and the kernel that blurred it become a sharp picture.

The kernel is an input, so one artifact serves every blur up to 15 x 15 pixels. The spectrum of the picture is
divided by that of the kernel, with a regulariser (Wiener, 1949) that the network learns, one number for each
of 8 bands of frequency. Two convolutions then take off what rings. Build it::

    fdikp-edge deploy --model examples/networks/deconvolve.py --size 128x128

The weights are initial ones from a fixed seed: a plain Wiener filter and a small correction.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from fdikp_edge.models.sources import NetworkSource, Sample, SizeRequirements, TensorSpec, photo_crops
from torch import Tensor, nn

TAPS = 15
BANDS = 8


class Deconvolver(nn.Module):
    """Wiener filter with a learned regulariser, then a residual network of two layers."""

    def __init__(self, channels: int = 16) -> None:
        """Start with the same regulariser in all bands, and a small correction."""
        super().__init__()
        self.log_noise = nn.Parameter(torch.full((BANDS,), -4.0))
        self.enter = nn.Conv2d(3, channels, 5, padding=2)
        self.leave = nn.Conv2d(channels, 3, 5, padding=2)
        nn.init.normal_(self.leave.weight, std=0.01)
        nn.init.zeros_(self.leave.bias)

    def forward(self, blurred: Tensor, kernel: Tensor) -> Tensor:
        """Map a picture [N, 3, H, W] and a kernel [N, 1, 15, 15] whose taps sum to 1 to a picture."""
        height, width = blurred.shape[-2:]
        # The middle of the kernel belongs on the first pixel of an array of the picture's size.
        padded = nn.functional.pad(kernel, (0, width - TAPS, 0, height - TAPS))
        transfer = torch.fft.rfft2(torch.roll(padded, (-(TAPS // 2), -(TAPS // 2)), dims=(-2, -1)))
        spectrum = torch.fft.rfft2(blurred)
        power = transfer.real.square() + transfer.imag.square()
        wiener = spectrum * transfer.conj() / (power + self._noise(height, width))
        sharp = torch.fft.irfft2(wiener, s=(height, width))
        correction: Tensor = self.leave(torch.relu(self.enter(sharp)))
        return sharp + correction

    def _noise(self, height: int, width: int) -> Tensor:
        """Return the regulariser [H, W // 2 + 1] at each frequency, the same number for all of a band."""
        rows, columns = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None, :]
        radius = (rows.square() + columns.square()).sqrt() / 0.5**0.5
        band = (radius * BANDS).long().clamp(max=BANDS - 1)
        return torch.exp(self.log_noise)[band.to(self.log_noise.device)]


def disc(radius: float) -> np.ndarray:
    """Return the kernel of a lens out of focus: a disc with a soft edge, float32 [1, 1, 15, 15], sum 1."""
    places = np.arange(TAPS) - TAPS // 2
    distance = np.hypot(places[:, None], places[None, :])
    kernel = np.clip(radius + 0.5 - distance, 0, 1)
    return (kernel / kernel.sum()).astype(np.float32)[None, None]


def samples(specs: Sequence[TensorSpec]) -> list[Sample]:
    """Return pieces of photos, blurred by discs of 1 to 6.5 pixels, and the discs."""
    blurred, kernel = specs
    drawn = []
    for n, sharp in enumerate(photo_crops(blurred, 12)):
        radius = 1 + 0.5 * n
        taps = torch.from_numpy(disc(radius))
        around = nn.functional.pad(torch.from_numpy(sharp), (TAPS // 2,) * 4, mode="circular")
        seen = nn.functional.conv2d(around, taps.expand(3, 1, TAPS, TAPS), groups=3)
        drawn.append(
            Sample(f"photo {n}, radius {radius}", {blurred.name: seen.numpy(), kernel.name: taps.numpy()})
        )
    return drawn


def make() -> Deconvolver:
    """Return the network with the weights of seed 0."""
    torch.manual_seed(0)
    return Deconvolver()


source = NetworkSource(
    name="deconvolve",
    spec="examples/networks/deconvolve.py",
    load=make,
    inputs=(
        TensorSpec("blurred", (1, 3, None, None), layout="NCHW", color="RGB"),
        TensorSpec("kernel", (1, 1, TAPS, TAPS)),
    ),
    outputs=("sharp",),
    sizes=SizeRequirements(minimum=32, multiple_of=2),
    samples=samples,
    scale=1,
    trained=False,
    note="initial weights of seed 0",
)
