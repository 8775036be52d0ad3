"""An enhancer for speech: one second of sound at 8 kHz in, the same with less noise out.

The sound is cut into short pieces (``torch.stft``), a small 1-D network finds how much of each frequency to
keep, and the pieces are put together again (``torch.istft``). Build it::

    fdikp-edge deploy --model examples/networks/enhance_audio.py

The weights are initial ones from a fixed seed: loud frequencies are kept and quiet ones damped a little. The
source brings a measure of its own, the signal-to-noise ratio in decibels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from fdikp_edge.models.sources import NetworkSource, Sample, TensorSpec
from torch import Tensor, nn

RATE = 8000
SAMPLES = 8000
WINDOW, HOP = 256, 128
BINS = WINDOW // 2 + 1


class Enhancer(nn.Module):
    """Find a gain between 0 and 1 for each frequency of each piece."""

    def __init__(self, channels: int = 48) -> None:
        """Draw weights; the last bias keeps most of the sound at first."""
        super().__init__()
        self.register_buffer("window", torch.hann_window(WINDOW))
        self.gain = nn.Sequential(
            nn.Conv1d(BINS, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv1d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv1d(channels, BINS, 1),
        )
        nn.init.constant_(self.gain[-1].bias, 2.0)

    def forward(self, sound: Tensor) -> Tensor:
        """Map a sound [N, 8000] from -1 to 1 to the same shape."""
        pieces = torch.stft(sound, WINDOW, HOP, window=self.window, return_complex=True)
        loudness = torch.log1p(pieces.abs())
        kept = pieces * torch.sigmoid(self.gain(loudness) + loudness)
        return torch.istft(kept, WINDOW, HOP, window=self.window, length=sound.shape[-1])


def samples(specs: Sequence[TensorSpec]) -> list[Sample]:
    """Return sums of a tone's harmonics that swell and fade, in noise."""
    (sound,) = specs
    generator = np.random.default_rng(0)
    time = np.arange(SAMPLES) / RATE
    drawn = []
    for n in range(16):
        pitch = generator.uniform(90, 300)
        tones = sum(math.sin(k) * np.sin(2 * np.pi * k * pitch * time) / k for k in range(1, 8))
        swell = np.sin(np.pi * time * generator.uniform(1, 4)) ** 2
        noisy = 0.4 * tones * swell + 0.02 * (n % 4) * generator.standard_normal(SAMPLES)
        drawn.append(
            Sample(f"tone of {pitch:.0f} Hz", {sound.name: noisy.clip(-1, 1).astype(np.float32)[None]})
        )
    return drawn


def measure(reference: np.ndarray, result: np.ndarray) -> Mapping[str, float]:
    """Return the signal-to-noise ratio of a result against the reference, in decibels, at most 200."""
    signal = float(np.square(reference, dtype=np.float64).sum())
    error = float(np.square(result.astype(np.float64) - reference).sum())
    return {"snr_db": min(200.0, 10 * math.log10((signal + 1e-30) / (error + 1e-30)))}


def make() -> Enhancer:
    """Return the network with the weights of seed 0."""
    torch.manual_seed(0)
    return Enhancer()


source = NetworkSource(
    name="enhance-audio",
    spec="examples/networks/enhance_audio.py",
    load=make,
    inputs=(TensorSpec("sound", (1, SAMPLES), value_range=(-1.0, 1.0)),),
    outputs=("enhanced",),
    samples=samples,
    metric=measure,
    trained=False,
    note="initial weights of seed 0",
)
