"""Networks in the manner of image restoration and inpainting papers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .case import Network


class FourierUnit(nn.Module):
    """LaMa's fast Fourier convolution, global branch: the spectrum's real and imaginary parts interleaved."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2 * channels, 2 * channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(2 * channels)

    def forward(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        spectrum = torch.fft.rfftn(x, dim=(-2, -1), norm="ortho")
        pairs = torch.stack((spectrum.real, spectrum.imag), dim=-1)
        pairs = pairs.permute(0, 1, 4, 2, 3).contiguous()
        flat = pairs.view(batch, -1, *pairs.shape[3:])
        flat = F.relu(self.norm(self.conv(flat)))
        pairs = flat.view(batch, -1, 2, *flat.shape[2:]).permute(0, 1, 3, 4, 2).contiguous()
        spectrum = torch.complex(pairs[..., 0], pairs[..., 1])
        return torch.fft.irfftn(spectrum, s=(height, width), dim=(-2, -1), norm="ortho")


class LamaFFC(nn.Module):
    """Local and global branches exchanging information, as in LaMa, a second Fourier unit on quarters."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        half = channels // 2
        self.local_to_local = nn.Conv2d(half, half, 3, padding=1, padding_mode="reflect")
        self.local_to_global = nn.Conv2d(half, half, 3, padding=1, padding_mode="reflect")
        self.global_to_local = nn.Conv2d(half, half, 3, padding=1, padding_mode="reflect")
        self.whole = FourierUnit(half)
        self.quarters = FourierUnit(half)

    def forward(self, x: Tensor) -> Tensor:
        near, far = x.chunk(2, dim=1)
        piece = far[:, : far.shape[1] // 4]
        piece = torch.cat(torch.split(piece, piece.shape[-2] // 2, dim=-2), dim=1)
        piece = torch.cat(torch.split(piece, piece.shape[-1] // 2, dim=-1), dim=1)
        spread = self.whole(far) + self.quarters(piece).repeat(1, 1, 2, 2)
        return torch.cat(
            (self.local_to_local(near) + self.global_to_local(far), self.local_to_global(near) + spread),
            dim=1,
        )


class FFTformerAttention(nn.Module):
    """FFTformer's frequency-domain attention: products of the spectra of 8x8 windows of query and key."""

    def __init__(self, channels: int = 6, window: int = 8) -> None:
        super().__init__()
        self.window = window
        self.to_hidden = nn.Conv2d(channels, channels * 6, 1)
        self.depthwise = nn.Conv2d(channels * 6, channels * 6, 3, padding=1, groups=channels * 6)
        self.norm = nn.LayerNorm(channels * 2)
        self.out = nn.Conv2d(channels * 2, channels, 1)

    def windows(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        w = self.window
        return x.reshape(batch, channels, height // w, w, width // w, w).permute(0, 1, 2, 4, 3, 5)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.depthwise(self.to_hidden(x)).chunk(3, dim=1)
        spectrum = torch.fft.rfft2(self.windows(query)) * torch.fft.rfft2(self.windows(key))
        out = torch.fft.irfft2(spectrum, s=(self.window, self.window))
        out = out.permute(0, 1, 2, 4, 3, 5).reshape(value.shape)
        out = self.norm(out.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return x + self.out(value * out)


class FFTformerFeedForward(nn.Module):
    """FFTformer's feed-forward: a learned real quantisation matrix on the spectrum of each 8x8 window."""

    def __init__(self, channels: int = 6, window: int = 8) -> None:
        super().__init__()
        self.window = window
        self.matrix = nn.Parameter(torch.rand(channels * 2, 1, 1, window, window // 2 + 1) + 0.5)
        self.inward = nn.Conv2d(channels, channels * 2, 1)
        self.outward = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.inward(x)
        batch, channels, height, width = hidden.shape
        w = self.window
        patches = hidden.view(batch, channels, height // w, w, width // w, w).transpose(3, 4)
        patches = torch.fft.irfft2(torch.fft.rfft2(patches) * self.matrix, s=(w, w))
        first, second = patches.transpose(3, 4).reshape(hidden.shape).chunk(2, dim=1)
        return x + self.outward(F.gelu(first) * second)


class DeepRFTBlock(nn.Module):
    """DeepRFT's residual block: a spatial branch beside a branch on the concatenated spectrum."""

    def __init__(self, channels: int = 5) -> None:
        super().__init__()
        self.spatial = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )
        self.spectral = nn.Sequential(
            nn.Conv2d(channels * 2, channels * 2, 1), nn.ReLU(), nn.Conv2d(channels * 2, channels * 2, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        spectrum = torch.fft.rfft2(x, norm="backward")
        joined = self.spectral(torch.cat((spectrum.real, spectrum.imag), dim=1))
        real, imag = torch.chunk(joined, 2, dim=1)
        back = torch.fft.irfft2(torch.complex(real, imag), s=(height, width), norm="backward")
        return self.spatial(x) + back + x


class SFNetSplit(nn.Module):
    """In the manner of SFNet: the feature split into bands by a predicted mask, each band weighted."""

    def __init__(self, channels: int = 6) -> None:
        super().__init__()
        self.cutoff = nn.Linear(channels, channels)
        self.weigh = nn.Linear(channels, 2 * channels)
        axis_y = torch.linspace(-1, 1, 18).view(-1, 1)
        axis_x = torch.linspace(-1, 1, 22).view(1, -1)
        self.register_buffer("radius", (axis_y**2 + axis_x**2).sqrt())

    def forward(self, x: Tensor) -> Tensor:
        pooled = x.mean(dim=(2, 3))
        cutoff = torch.sigmoid(self.cutoff(pooled))[:, :, None, None]
        mask = torch.sigmoid((cutoff - self.radius) * 10)
        shifted = torch.fft.fftshift(torch.fft.fft2(x, norm="ortho"), dim=(-2, -1))
        low = torch.fft.ifft2(torch.fft.ifftshift(shifted * mask, dim=(-2, -1)), norm="ortho").real
        high = x - low
        weights = torch.softmax(self.weigh(pooled).view(x.shape[0], 2, -1, 1, 1), dim=1)
        return low * weights[:, 0] + high * weights[:, 1]


class FADformerInterleaved(nn.Module):
    """In the manner of FADformer: spectrum as interleaved channels through `view_as_real` and back."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.mix = nn.Conv2d(channels * 2, channels * 2, 1, groups=2)
        self.gate = nn.Conv2d(channels * 2, channels * 2, 3, padding=1, groups=channels * 2)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        pairs = torch.view_as_real(torch.fft.rfft2(x, dim=(2, 3), norm="ortho"))
        flat = pairs.permute(0, 1, 4, 2, 3).reshape(batch, channels * 2, height, -1)
        flat = self.mix(flat) * torch.sigmoid(self.gate(flat))
        pairs = flat.reshape(batch, channels, 2, height, -1).permute(0, 1, 3, 4, 2).contiguous()
        return x + torch.fft.irfft2(torch.view_as_complex(pairs), s=(height, width), dim=(2, 3), norm="ortho")


class AmplitudePhaseBlock(nn.Module):
    """Convolutions on amplitude and on phase apart, put together with cosine and sine (low-light networks).

    The phase of a purely real negative coefficient is pi, and minus pi for the least negative imaginary part:
    a lowering must keep the imaginary parts that are exactly zero exactly zero.
    """

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.amplitude = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.LeakyReLU(0.1))
        self.phase = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.LeakyReLU(0.1))

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(x, norm="backward")
        amplitude = self.amplitude(torch.abs(spectrum))
        phase = self.phase(torch.angle(spectrum))
        real, imag = amplitude * torch.cos(phase), amplitude * torch.sin(phase)
        return torch.fft.irfft2(torch.complex(real, imag), s=x.shape[-2:], norm="backward")


class KernelPredictor(nn.Module):
    """A deblurring filter predicted per channel in the half spectrum: nothing makes it Hermitian."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.real = nn.Conv2d(channels, channels, 1)
        self.imag = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(x)
        power = torch.log1p(spectrum.abs())
        kernel = torch.complex(torch.tanh(self.real(power)), self.imag(power))
        return torch.fft.irfft2(spectrum * kernel.conj() / (1.0 + kernel.abs().square()), s=x.shape[-2:])


class VolumeFourierUnit(nn.Module):
    """A Fourier unit on volumes: parts stacked as channels, 1x1x1 convolutions without bias, odd sizes."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.mix = nn.Conv3d(2 * channels, 2 * channels, 1, bias=False)
        self.local = nn.Conv3d(channels, channels, 3, padding=1, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfftn(x, dim=(2, 3, 4), norm="ortho")
        real, imag = F.relu(self.mix(torch.cat((spectrum.real, spectrum.imag), dim=1))).chunk(2, dim=1)
        whole = torch.fft.irfftn(torch.complex(real, imag), s=x.shape[2:], dim=(2, 3, 4), norm="ortho")
        return whole + self.local(x)


NETWORKS = (
    Network("lama_ffc", LamaFFC, ((2, 8, 16, 12),)),
    Network("fftformer_attention", FFTformerAttention, ((1, 6, 16, 24),)),
    Network("fftformer_feed_forward", FFTformerFeedForward, ((2, 6, 24, 16),)),
    Network("volume_fourier_unit", VolumeFourierUnit, ((1, 3, 5, 7, 6),)),
    Network("deeprft_block", DeepRFTBlock, ((1, 5, 21, 15),)),
    Network("sfnet_split", SFNetSplit, ((2, 6, 18, 22),)),
    Network("fadformer_interleaved", FADformerInterleaved, ((2, 4, 12, 20),)),
    Network("amplitude_phase_block", AmplitudePhaseBlock, ((1, 4, 14, 12),)),
    Network("kernel_predictor", KernelPredictor, ((1, 3, 20, 18),)),
)
