"""Networks in the manner of neural operators and of token mixers in the frequency domain."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .case import Network


class GlobalFilter(nn.Module):
    """GFNet's block on tokens: a complex filter kept as a real parameter with a last axis of two."""

    def __init__(self, height: int, width: int, channels: int) -> None:
        super().__init__()
        self.grid = (height, width)
        self.weight = nn.Parameter(torch.randn(height, width // 2 + 1, channels, 2) * 0.1)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, channels = x.shape
        grid = self.norm(x).view(batch, *self.grid, channels)
        spectrum = torch.fft.rfft2(grid, dim=(1, 2), norm="ortho")
        spectrum = spectrum * torch.view_as_complex(self.weight)
        grid = torch.fft.irfft2(spectrum, s=self.grid, dim=(1, 2), norm="ortho")
        return x + grid.reshape(batch, tokens, channels)


class ComplexParameterFilter(nn.Module):
    """The same idea with a parameter that is complex itself and sizes that are odd."""

    def __init__(self, channels: int = 3, height: int = 15, width: int = 13) -> None:
        super().__init__()
        shape = (channels, height, width // 2 + 1)
        self.weight = nn.Parameter(torch.randn(shape, dtype=torch.cfloat) * 0.3)
        self.bias = nn.Parameter(torch.randn(channels, 1, 1, dtype=torch.cfloat) * 0.1)

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(x, norm="ortho") * self.weight + self.bias
        return F.gelu(torch.fft.irfft2(spectrum, s=x.shape[-2:], norm="ortho"))


class AFNO(nn.Module):
    """Adaptive Fourier neural operator: a block-diagonal complex MLP on the kept modes, soft-shrunk."""

    def __init__(self, channels: int = 8, blocks: int = 2, kept: float = 0.6) -> None:
        super().__init__()
        self.blocks, self.size, self.kept = blocks, channels // blocks, kept
        self.w1 = nn.Parameter(torch.randn(2, blocks, self.size, self.size) * 0.3)
        self.b1 = nn.Parameter(torch.randn(2, blocks, self.size) * 0.3)
        self.w2 = nn.Parameter(torch.randn(2, blocks, self.size, self.size) * 0.3)
        self.b2 = nn.Parameter(torch.randn(2, blocks, self.size) * 0.3)

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        spectrum = torch.fft.rfft2(x, dim=(1, 2), norm="ortho")
        spectrum = spectrum.reshape(batch, height, width // 2 + 1, self.blocks, self.size)
        modes = height // 2 + 1
        kept = int(modes * self.kept)
        rows, cols = slice(modes - kept, modes + kept), slice(0, kept)
        shape = (batch, height, width // 2 + 1, self.blocks, self.size)
        real1, imag1 = torch.zeros(shape, dtype=x.dtype), torch.zeros(shape, dtype=x.dtype)
        real2, imag2 = torch.zeros(shape, dtype=x.dtype), torch.zeros(shape, dtype=x.dtype)
        part = spectrum[:, rows, cols]
        mix = "...bi,bio->...bo"
        real1[:, rows, cols] = F.relu(
            torch.einsum(mix, part.real, self.w1[0]) - torch.einsum(mix, part.imag, self.w1[1]) + self.b1[0]
        )
        imag1[:, rows, cols] = F.relu(
            torch.einsum(mix, part.imag, self.w1[0]) + torch.einsum(mix, part.real, self.w1[1]) + self.b1[1]
        )
        r, i = real1[:, rows, cols], imag1[:, rows, cols]
        real2[:, rows, cols] = (
            torch.einsum(mix, r, self.w2[0]) - torch.einsum(mix, i, self.w2[1]) + self.b2[0]
        )
        imag2[:, rows, cols] = (
            torch.einsum(mix, i, self.w2[0]) + torch.einsum(mix, r, self.w2[1]) + self.b2[1]
        )
        pairs = F.softshrink(torch.stack((real2, imag2), dim=-1), lambd=0.01)
        spectrum = torch.view_as_complex(pairs).reshape(batch, height, width // 2 + 1, channels)
        return x + torch.fft.irfft2(spectrum, s=(height, width), dim=(1, 2), norm="ortho")


class FNO1d(nn.Module):
    """Fourier neural operator in one dimension: low modes through a complex weight, the rest dropped."""

    def __init__(self, width: int = 6, modes: int = 7) -> None:
        super().__init__()
        self.modes = modes
        self.lift = nn.Linear(2, width)
        self.weight = nn.Parameter(torch.rand(width, width, modes, dtype=torch.cfloat) / width)
        self.skip = nn.Conv1d(width, width, 1)
        self.project = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.lift(x).permute(0, 2, 1)
        spectrum = torch.fft.rfft(h)
        out = torch.zeros(h.shape[0], h.shape[1], h.shape[-1] // 2 + 1, dtype=torch.cfloat, device=x.device)
        out[:, :, : self.modes] = torch.einsum("bix,iox->box", spectrum[:, :, : self.modes], self.weight)
        h = F.gelu(torch.fft.irfft(out, n=h.shape[-1]) + self.skip(h))
        return self.project(h.permute(0, 2, 1))


class FNO2d(nn.Module):
    """Fourier neural operator in two dimensions: the two corners of low modes written into zeros."""

    def __init__(self, width: int = 4, modes: tuple[int, int] = (4, 5)) -> None:
        super().__init__()
        self.modes = modes
        self.low = nn.Parameter(torch.rand(width, width, *modes, dtype=torch.cfloat) / width)
        self.high = nn.Parameter(torch.rand(width, width, *modes, dtype=torch.cfloat) / width)
        self.skip = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        m1, m2 = self.modes
        spectrum = torch.fft.rfft2(x)
        out = torch.zeros_like(spectrum)
        out[:, :, :m1, :m2] = torch.einsum("bixy,ioxy->boxy", spectrum[:, :, :m1, :m2], self.low)
        out[:, :, -m1:, :m2] = torch.einsum("bixy,ioxy->boxy", spectrum[:, :, -m1:, :m2], self.high)
        return F.gelu(torch.fft.irfft2(out, s=x.shape[-2:]) + self.skip(x))


class FNO3d(nn.Module):
    """Three dimensions, odd sizes, four corners of kept modes."""

    def __init__(self, width: int = 2, modes: int = 2) -> None:
        super().__init__()
        self.modes = modes
        self.weight = nn.Parameter(
            torch.randn(4, width, width, modes, modes, modes, dtype=torch.cfloat) / width
        )

    def forward(self, x: Tensor) -> Tensor:
        m = self.modes
        spectrum = torch.fft.rfftn(x, dim=[-3, -2, -1])
        out = torch.zeros(spectrum.shape, dtype=spectrum.dtype)
        corners = ((slice(m), slice(m)), (slice(-m, None), slice(m)), (slice(m), slice(-m, None)))
        for index, (a, b) in enumerate((*corners, (slice(-m, None), slice(-m, None)))):
            kept = torch.einsum("bixyz,ioxyz->boxyz", spectrum[:, :, a, b, :m], self.weight[index])
            out[:, :, a, b, :m] = kept
        return x + torch.fft.irfftn(out, s=x.shape[-3:], dim=(-3, -2, -1))


class FactorisedFNO(nn.Module):
    """One axis at a time, middle axes included, with the orthonormal transform."""

    def __init__(self, width: int = 4, modes: int = 5) -> None:
        super().__init__()
        self.modes = modes
        self.weights = nn.ParameterList([torch.randn(width, width, modes, 2) * 0.2 for _ in range(2)])
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        h = x.permute(0, 3, 1, 2)
        total = torch.zeros_like(h)
        for dim, weight, formula in ((-1, 0, "bixy,ioy->boxy"), (-2, 1, "bixy,iox->boxy")):
            spectrum = torch.fft.rfft(h, dim=dim, norm="ortho")
            out = spectrum.new_zeros(spectrum.shape)
            kept = spectrum.narrow(dim, 0, self.modes)
            mixed = torch.einsum(formula, kept, torch.view_as_complex(self.weights[weight]))
            if dim == -1:
                out[..., : self.modes] = mixed
            else:
                out[:, :, : self.modes, :] = mixed
            total = total + torch.fft.irfft(out, n=h.shape[dim], dim=dim, norm="ortho")
        return x + self.mlp(total.permute(0, 2, 3, 1))


class FNet(nn.Module):
    """FNet's mixing: the real part of a transform over hidden and then over sequence positions."""

    def __init__(self, hidden: int = 12) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.feed = nn.Sequential(nn.Linear(hidden, 2 * hidden), nn.GELU(), nn.Linear(2 * hidden, hidden))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x + torch.fft.fft(torch.fft.fft(x, dim=-1), dim=-2).real)
        x = x + self.feed(x)
        return self.norm(x + torch.fft.fft2(x, dim=(1, 2), norm="ortho").real)


class SpectralPooling(nn.Module):
    """Downscaling by cropping the shifted spectrum: odd sizes, complex slices."""

    def __init__(self, size: tuple[int, int] = (9, 8)) -> None:
        super().__init__()
        self.size = size
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        spectrum = torch.fft.fftshift(torch.fft.fft2(self.conv(x), norm="forward"), dim=(-2, -1))
        top, left = height // 2 - self.size[0] // 2, width // 2 - self.size[1] // 2
        spectrum = spectrum[:, :, top : top + self.size[0], left : left + self.size[1]]
        return torch.fft.ifft2(torch.fft.ifftshift(spectrum, dim=(-2, -1)), norm="forward").real


class FrequencyAttention(nn.Module):
    """Complex queries and keys, complex products of matrices, weights from magnitudes, complex values."""

    def __init__(self, channels: int = 6) -> None:
        super().__init__()
        self.query = nn.Linear(channels, channels, bias=False, dtype=torch.cfloat)
        self.key = nn.Linear(channels, channels, dtype=torch.cfloat)
        self.value = nn.Parameter(torch.randn(channels, channels, dtype=torch.cfloat) * 0.3)

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(x, dim=1, norm="ortho")
        query, key = self.query(spectrum), self.key(spectrum)
        scores = torch.bmm(query, key.conj().transpose(1, 2))
        weights = torch.softmax(scores.abs() / x.shape[-1] ** 0.5, dim=-1)
        mixed = torch.matmul(weights.to(spectrum.dtype), spectrum @ self.value)
        return torch.fft.irfft(mixed, n=x.shape[1], dim=1, norm="ortho")


NETWORKS = (
    Network("gfnet", lambda: GlobalFilter(8, 8, 6), ((2, 64, 6),)),
    Network("gfnet_odd", lambda: GlobalFilter(7, 9, 4), ((1, 63, 4),)),
    Network("complex_parameter_filter", ComplexParameterFilter, ((2, 3, 15, 13),)),
    Network("afno", AFNO, ((1, 12, 10, 8),)),
    Network("fno1d", FNO1d, ((2, 32, 2),)),
    Network("fno2d", FNO2d, ((1, 4, 12, 16),)),
    Network("fno3d", FNO3d, ((1, 2, 5, 6, 7),)),
    Network("factorised_fno", FactorisedFNO, ((2, 11, 12, 4),)),
    Network("fnet", FNet, ((2, 10, 12),)),
    Network("spectral_pooling", SpectralPooling, ((1, 3, 15, 17),)),
    Network("frequency_attention", FrequencyAttention, ((2, 10, 6),)),
)
