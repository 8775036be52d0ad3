"""A Fourier neural operator on a field of 64 x 64 points (Li et al., 2021, arXiv:2010.08895).

It maps one field to another, such as a temperature now to the temperature a second later. No photo can be put
in: the input is a tensor, and the samples are smooth random fields. Build it::

    fdikp-edge deploy --model examples/networks/field_operator.py

The weights are initial ones from a fixed seed: the result is the field with a small change added.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from fdikp_edge.models.sources import NetworkSource, Sample, TensorSpec
from torch import Tensor, nn

POINTS = 64


class SpectralConvolution(nn.Module):
    """Multiply the lowest modes of the spectrum by complex matrices over the channels."""

    def __init__(self, channels: int, modes: int) -> None:
        """Draw matrices for ``modes`` frequencies along each axis, both signs of the first."""
        super().__init__()
        self.modes = modes
        drawn = torch.randn(2, channels, channels, modes, modes, dtype=torch.complex64)
        self.weight = nn.Parameter(drawn * (0.5 / channels**0.5))

    def forward(self, field: Tensor) -> Tensor:
        """Map [N, C, H, W] to the same shape."""
        n = self.modes
        spectrum = torch.fft.rfft2(field, norm="ortho")
        kept = torch.zeros_like(spectrum)
        kept[:, :, :n, :n] = torch.einsum("bixy,ioxy->boxy", spectrum[:, :, :n, :n], self.weight[0])
        kept[:, :, -n:, :n] = torch.einsum("bixy,ioxy->boxy", spectrum[:, :, -n:, :n], self.weight[1])
        return torch.fft.irfft2(kept, s=field.shape[-2:], norm="ortho")


class FieldOperator(nn.Module):
    """Spectral convolutions, each beside a 1x1 convolution; the change is added to the field."""

    def __init__(self, channels: int = 12, modes: int = 8, layers: int = 3) -> None:
        """Draw the weights of all layers."""
        super().__init__()
        self.lift = nn.Conv2d(1, channels, 1)
        self.spectral = nn.ModuleList(SpectralConvolution(channels, modes) for _ in range(layers))
        self.local = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(layers))
        self.project = nn.Conv2d(channels, 1, 1)

    def forward(self, field: Tensor) -> Tensor:
        """Map a field [N, 1, 64, 64] to a field."""
        hidden = self.lift(field)
        for spectral, local in zip(self.spectral, self.local, strict=True):
            hidden = nn.functional.gelu(spectral(hidden) + local(hidden))
        change: Tensor = self.project(hidden)
        return field + change


def samples(specs: Sequence[TensorSpec]) -> list[Sample]:
    """Return random fields whose waves weaken with the cube of their frequency, scaled to deviation 1."""
    (field,) = specs
    generator = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(POINTS)[:, None], np.fft.rfftfreq(POINTS)[None, :]) * POINTS
    weight = 1 / (1 + frequency) ** 3
    drawn = []
    for n in range(16):
        noise = np.fft.rfft2(generator.standard_normal((POINTS, POINTS)))
        smooth = np.fft.irfft2(noise * weight, s=(POINTS, POINTS))
        array = (smooth / smooth.std()).clip(-4, 4).astype(np.float32)[None, None]
        drawn.append(Sample(f"random field {n}", {field.name: array}))
    return drawn


def make() -> FieldOperator:
    """Return the network with the weights of seed 0."""
    torch.manual_seed(0)
    return FieldOperator()


source = NetworkSource(
    name="field-operator",
    spec="examples/networks/field_operator.py",
    load=make,
    inputs=(TensorSpec("field", (1, 1, POINTS, POINTS), value_range=(-4.0, 4.0)),),
    outputs=("later",),
    samples=samples,
    trained=False,
    note="initial weights of seed 0",
)
