"""Heads of audio networks: short-time transforms in front of and behind small convolutions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .case import Network


class VocoderHead(nn.Module):
    """A spectrum from log magnitude and phase, and the signal from it: the inverse transform's own framing.

    After Siuzdak, "Vocos: closing the gap between time-domain and Fourier-based neural vocoders" (2023).
    """

    def __init__(self, channels: int = 12, n_fft: int = 32, hop: int = 8) -> None:
        super().__init__()
        self.n_fft, self.hop = n_fft, hop
        self.embed = nn.Conv1d(channels, 24, 7, padding=3)
        self.depthwise = nn.Conv1d(24, 24, 7, padding=3, groups=24)
        self.norm = nn.LayerNorm(24)
        self.out = nn.Linear(24, n_fft + 2)
        self.register_buffer("window", torch.hann_window(n_fft))

    def forward(self, features: Tensor) -> Tensor:
        h = self.embed(features)
        h = h + F.gelu(self.norm(self.depthwise(h).transpose(1, 2))).transpose(1, 2)
        magnitude, phase = self.out(h.transpose(1, 2)).transpose(1, 2).chunk(2, dim=1)
        magnitude = torch.clip(torch.exp(magnitude), max=1e2)
        spectrum = magnitude * (torch.cos(phase) + 1j * torch.sin(phase))
        return torch.istft(spectrum, self.n_fft, self.hop, window=self.window, center=True)


class OverlapHead(nn.Module):
    """The same with frames that are folded by hand, so that the signal keeps the frames' own length."""

    def __init__(self, channels: int = 6, n_fft: int = 24, hop: int = 6) -> None:
        super().__init__()
        self.n_fft, self.hop = n_fft, hop
        self.out = nn.Conv1d(channels, n_fft + 2, 1)
        self.register_buffer("window", torch.hann_window(n_fft) + 0.05)

    def forward(self, features: Tensor) -> Tensor:
        magnitude, phase = self.out(features).chunk(2, dim=1)
        spectrum = torch.polar(F.softplus(magnitude), phase)
        frames = torch.fft.irfft(spectrum, self.n_fft, dim=1, norm="backward") * self.window[:, None]
        count = frames.shape[-1]
        size = (count - 1) * self.hop + self.n_fft
        margin = (self.n_fft - self.hop) // 2

        def overlap(parts: Tensor) -> Tensor:
            whole = F.fold(parts, (1, size), (1, self.n_fft), stride=(1, self.hop))
            return whole[:, 0, 0, margin:-margin]

        envelope = overlap(self.window.square().expand(1, count, -1).transpose(1, 2))
        assert (envelope > 1e-11).all()
        return overlap(frames) / envelope


class SeparatorHead(nn.Module):
    """A masked spectrum next to a branch on the waveform, both summed for each source.

    After Défossez, "Hybrid spectrogram and waveform source separation" (2021): the spectrum as channels, the
    highest bin dropped and put back, a reflected margin that is checked in Python.
    """

    def __init__(self, n_fft: int = 32, hop: int = 8, sources: int = 2) -> None:
        super().__init__()
        self.n_fft, self.hop, self.sources = n_fft, hop, sources
        self.encoder = nn.Conv2d(4, 8, (8, 3), (4, 1), (2, 1))
        self.norm = nn.GroupNorm(2, 8)
        self.decoder = nn.ConvTranspose2d(8, 4 * sources, (8, 3), (4, 1), (2, 1))
        self.wave = nn.Conv1d(2, 2 * sources, 9, padding=4)

    def forward(self, mix: Tensor) -> Tensor:
        length, hop = mix.shape[-1], self.hop
        frames = -(-length // hop)
        margin = hop // 2 * 3
        padded = F.pad(mix, (margin, margin + frames * hop - length), mode="reflect")
        assert (padded[..., margin : margin + length] == mix).all()
        window = torch.hann_window(self.n_fft).to(mix)
        flat = padded.reshape(-1, padded.shape[-1])
        z = torch.stft(flat, self.n_fft, hop, window=window, normalized=True, return_complex=True)
        z = z.reshape(*mix.shape[:-1], *z.shape[1:])[..., :-1, 2 : 2 + frames]
        batch, channels, bins, _ = z.shape
        parts = torch.view_as_real(z).permute(0, 1, 4, 2, 3).reshape(batch, 2 * channels, bins, frames)
        mean, deviation = parts.mean((1, 2, 3), keepdim=True), parts.std((1, 2, 3), keepdim=True)
        h = F.gelu(self.norm(self.encoder((parts - mean) / (deviation + 1e-5))))
        masked = self.decoder(h) * deviation + mean
        masked = masked.reshape(batch, self.sources, channels, 2, bins, frames).permute(0, 1, 2, 4, 5, 3)
        spectrum = F.pad(torch.view_as_complex(masked.contiguous()), (2, 2, 0, 1))
        whole = hop * frames + 2 * margin
        flat = spectrum.reshape(-1, bins + 1, frames + 4)
        x = torch.istft(flat, self.n_fft, hop, window=window, normalized=True, length=whole)
        x = x.reshape(batch, self.sources, channels, whole)[..., margin : margin + length]
        return x + self.wave(mix).reshape(batch, self.sources, channels, length)


NETWORKS = (
    Network("vocoder_head", VocoderHead, ((1, 12, 20),)),
    Network("overlap_head", OverlapHead, ((1, 6, 15),)),
    Network("separator_head", SeparatorHead, ((1, 2, 120),)),
)
