"""Complex algebra, layouts and the transforms in three dimensions, as networks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .case import Network


class VolumeFilter(nn.Module):
    """Three-dimensional transforms of both kinds, odd sizes, every norm."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(5, 7, 5, dtype=torch.cfloat) * 0.2)

    def forward(self, x: Tensor) -> Tensor:
        half = torch.fft.rfftn(x, dim=(2, 3, 4), norm="forward") * self.weight
        filtered = torch.fft.irfftn(half, s=(5, 7, 9), dim=(2, 3, 4), norm="forward")
        whole = torch.fft.fftn(x, dim=(-3, -2, -1), norm="ortho")
        whole = torch.roll(whole, shifts=(1, -2), dims=(-1, -3))
        return filtered + torch.fft.ifftn(whole, dim=(-3, -2, -1), norm="ortho").imag


class NonHermitian(nn.Module):
    """Half spectra with imaginary parts where no real signal has any, into even and odd sizes."""

    def forward(self, real: Tensor, imag: Tensor) -> Tensor:
        spectrum = torch.complex(real, imag)
        even = torch.fft.irfft2(spectrum, s=(10, 12), norm="ortho")
        odd = torch.fft.irfft2(spectrum, s=(11, 13), norm="ortho")
        cropped = torch.fft.irfft2(spectrum, s=(7, 9))
        plain = torch.fft.irfft2(spectrum)
        return even[..., :7, :9] + odd[..., :7, :9] + cropped + plain[..., :7, :9]


class LowPassMasks(nn.Module):
    """Hermitian masks as complex buffers, one ideal, one Gaussian with a phase ramp; bands concatenated."""

    def __init__(self, height: int = 12, width: int = 15) -> None:
        super().__init__()
        fy, fx = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)[None, :]
        radius = (fy**2 + fx**2).sqrt()
        self.register_buffer("ideal", (radius < 0.25).to(torch.cfloat))
        self.register_buffer("soft", torch.exp(-8 * radius**2) * torch.exp(-2j * torch.pi * 1.5 * fx))

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(x)
        bands = torch.stack((spectrum * self.ideal, spectrum * self.soft, spectrum * (1 - self.ideal)), dim=1)
        return torch.fft.irfft2(bands, s=x.shape[-2:]).flatten(1, 2)


class ComplexArithmetic(nn.Module):
    """Powers, roots, reciprocals, exponentials, sums and means of complex values."""

    def forward(self, x: Tensor) -> Tensor:
        z = torch.fft.rfft(x, norm="ortho") * 0.3 + (1.5 + 0.25j)
        total = z.pow(2) + z**3 - torch.sqrt(z) + 1 / z - z.reciprocal() * 2 + torch.exp(-z)
        total = total + z.square() - (2 - 1j) / z + z**-1 + torch.rsqrt(z) + z.sum(dim=-1, keepdim=True)
        total = total * z.mean(dim=(0, 1), keepdim=True) + z.sum() / 50 + torch.neg(z) * 1j + (3 - z)
        return torch.fft.irfft(total + torch.sgn(z) + torch.log(z), n=x.shape[-1])


class ComplexLayouts(nn.Module):
    """Every way of moving complex values about: no arithmetic, so any slip shows."""

    def forward(self, x: Tensor) -> Tensor:
        z = torch.fft.fft2(x, norm="ortho")
        w = torch.cat((z, z.flip(-1)), dim=1).permute(0, 2, 3, 1).contiguous()
        w = torch.stack((w, w.roll(2, dims=1).clone()), dim=-1).squeeze(0).transpose(0, 1)
        w = w.unsqueeze(0).expand(2, -1, -1, -1, -1).reshape(2, w.shape[0], w.shape[1], -1)
        first, second = w.split([3, w.shape[-1] - 3], dim=-1)
        w = torch.cat((second, first), dim=-1).movedim(-1, 1)
        w = torch.nn.functional.pad(w, (1, 0, 0, 2))
        w = w[:, ::2, 1:, :-1].index_select(1, torch.tensor([1, 0, 2])).repeat(1, 2, 1, 1)
        w = torch.where(w.real > 0, w, w.conj()).flatten(2).unbind(0)[1]
        w = w.masked_fill(w.imag < -1, 0).tile(2, 1).mT
        return torch.cat((w.real, w.imag, w.abs()), dim=-1)


class SliceWrites(nn.Module):
    """Writes into slices of a complex tensor: values, scalars, a copied block, updates in place."""

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(x).clone()
        spectrum[..., 0, 0] = 0
        spectrum[:, :, 3:5, ::2] *= 0.5
        spectrum[:, 0, -2:] = spectrum[:, 1, -2:].conj()
        spectrum[..., 2] = 1 - 2j
        copy = torch.empty_like(spectrum)
        copy.copy_(spectrum)
        copy.real[..., 1, :] = x[..., 1, : copy.shape[-1]]
        copy += spectrum * 1j
        copy[:, :, 4] /= 2 + 1j
        return torch.fft.irfft2(copy, s=x.shape[-2:])


class ComplexMatrices(nn.Module):
    """Products of complex matrices of every kind, mixed with real ones, outer products and einsum."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Parameter(torch.randn(5, 6, dtype=torch.cfloat) * 0.4)
        self.vector = nn.Parameter(torch.randn(6, dtype=torch.cfloat))
        self.real = nn.Parameter(torch.randn(2, 6, 6) * 0.4)

    def forward(self, x: Tensor) -> Tensor:
        z = torch.fft.fft(x, dim=1, norm="ortho")
        a = torch.bmm(z, z.mH) / 6
        b = a @ self.real.to(a.dtype)
        c = torch.matmul(self.left, b)
        d = torch.matmul(b, self.vector)
        e = torch.einsum("bij,bjk,lk->bil", b, z, self.left.conj())
        f = torch.mm(self.left, self.left.mH) + torch.outer(self.vector[:5], self.vector[1:])
        joined = torch.cat((c.flatten(1), d, e.flatten(1), f.flatten().expand(2, -1)), dim=1)
        return torch.cat((joined.real, joined.imag), dim=1)


class ShiftsAndNorms(nn.Module):
    """Shifts of odd and even axes with default and given dims, and norms that differ both ways."""

    def forward(self, x: Tensor) -> Tensor:
        whole = torch.fft.fftshift(torch.fft.fft2(x, norm="ortho"))
        whole = torch.fft.ifftshift(whole * 1.5)
        one = torch.fft.ifft2(whole, norm="forward").real
        two = torch.fft.irfft2(torch.fft.rfft2(x, s=(9, 11), norm="forward"), s=(7, 10), norm="ortho")
        three = torch.fft.ihfft2(x, norm="ortho")
        return one + two + torch.fft.hfft2(three, s=(7, 10), norm="backward")


class ViewAsRealOutput(nn.Module):
    """A spectrum handed out as pairs, beside its amplitude and phase."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 2, dtype=torch.cfloat))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        spectrum = torch.einsum("bchw,oc->bohw", torch.fft.rfft2(x), self.weight)
        return torch.view_as_real(spectrum), torch.log1p(spectrum.abs())


NETWORKS = (
    Network("volume_filter", VolumeFilter, ((1, 2, 5, 7, 9),)),
    Network("non_hermitian", NonHermitian, ((1, 3, 10, 7), (1, 3, 10, 7))),
    Network("low_pass_masks", LowPassMasks, ((2, 2, 12, 15),)),
    Network("complex_arithmetic", ComplexArithmetic, ((2, 3, 12),)),
    Network("complex_layouts", ComplexLayouts, ((1, 2, 5, 6),)),
    Network("slice_writes", SliceWrites, ((1, 2, 9, 8),)),
    Network("complex_matrices", ComplexMatrices, ((2, 6, 6),)),
    Network("shifts_and_norms", ShiftsAndNorms, ((2, 7, 10),)),
    Network("view_as_real_output", ViewAsRealOutput, ((1, 2, 8, 9),)),
)
