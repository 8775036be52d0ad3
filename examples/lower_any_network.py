"""Lower a network of your own that calls ``torch.fft``, and run it in ONNX Runtime.

The network here is not FDIKP and takes no photo: it is a small Fourier neural operator, which maps one field
on a grid to another (Li et al., "Fourier Neural Operator for Parametric Partial Differential Equations",
2021, arXiv:2010.08895). It multiplies spectra by complex weights, for which ONNX operators have no type.

Three steps:

1. ``lower`` traces the network and rewrites every FFT and every complex number as real matrix products. The
   result is an ordinary ``torch.export.ExportedProgram``.
2. ``torch.onnx.export`` takes that program like any other.
3. ONNX Runtime runs the file, and its answer is compared with the original network in PyTorch.

Needs ``pip install "fdikp-edge[export]"``. Run it with::

    python examples/lower_any_network.py [FILE.onnx]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from fdikp_edge.export import lower
from torch import Tensor, nn


class SpectralConvolution(nn.Module):
    """A convolution over the whole grid: the lowest modes of the spectrum times complex weights."""

    def __init__(self, channels: int, modes: int) -> None:
        """Draw weights for ``modes`` frequencies along each axis."""
        super().__init__()
        self.modes = modes
        shape = (2, channels, channels, modes, modes)
        self.weight = nn.Parameter(torch.randn(shape, dtype=torch.complex64) / channels)

    def forward(self, field: Tensor) -> Tensor:
        """Map float32 [N, channels, H, W] to the same shape."""
        n = self.modes
        spectrum = torch.fft.rfft2(field, norm="ortho")
        kept = torch.zeros_like(spectrum)
        kept[:, :, :n, :n] = torch.einsum("bixy,ioxy->boxy", spectrum[:, :, :n, :n], self.weight[0])
        kept[:, :, -n:, :n] = torch.einsum("bixy,ioxy->boxy", spectrum[:, :, -n:, :n], self.weight[1])
        return torch.fft.irfft2(kept, s=field.shape[-2:], norm="ortho")


class FourierOperator(nn.Module):
    """Two spectral convolutions, each beside a 1x1 convolution."""

    def __init__(self, channels: int = 16, modes: int = 8) -> None:
        """Make the layers with random weights."""
        super().__init__()
        self.lift = nn.Conv2d(1, channels, 1)
        self.spectral = nn.ModuleList(SpectralConvolution(channels, modes) for _ in range(2))
        self.local = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(2))
        self.project = nn.Conv2d(channels, 1, 1)

    def forward(self, field: Tensor) -> Tensor:
        """Map float32 [N, 1, H, W] to the same shape."""
        hidden = self.lift(field)
        for spectral, local in zip(self.spectral, self.local, strict=True):
            hidden = nn.functional.gelu(spectral(hidden) + local(hidden))
        answer: Tensor = self.project(hidden)
        return answer


def main(file: Path) -> None:
    """Write the lowered network to ``file`` and compare ONNX Runtime with PyTorch."""
    torch.manual_seed(0)
    network = FourierOperator().eval()
    field = torch.randn(1, 1, 64, 64)

    # Shapes are static: the program is for fields of 64x64. `target` says whose costs choose the strategies.
    lowered = lower(network, (field,), target="onnx")
    print(lowered.audit.summary())

    torch.onnx.export(lowered.program, (), str(file), dynamo=True, verbose=False)

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {session.get_inputs()[0].name: field.numpy()})
    with torch.no_grad():
        expected = network(field).numpy()

    error = float(np.abs(answer - expected).max() / np.abs(expected).max())
    print(f"largest error of ONNX Runtime against PyTorch: {error:.1e} of the largest value")
    if error > 1e-5:
        raise SystemExit("the lowered network does not compute what the original does")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "fourier-operator.onnx"))
