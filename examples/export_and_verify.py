"""Export an image network from Python and verify the artifact, as ``fdikp-edge export`` and ``verify`` do.

The network is a Wiener filter, which undoes a blur that is the same in the whole photo (Gonzalez and Woods,
"Digital Image Processing", chapter 5: conj(H) / (|H|^2 + noise)). It needs no trained weights. Any module
that maps an image to an image goes the same way; for FDIKP write ``network = zoo.load("tiny")``, with
``from fdikp_edge.models import zoo``.

Three steps:

1. ``lower_model`` lowers the network for one image size. One lowered model serves several targets and
   precisions.
2. ``build_artifact`` writes an artifact: a folder with the model for one runtime and its ``passport.json``.
   Its state is "unverified" until it has been measured.
3. ``verify`` runs the artifact and the network in PyTorch on the same photos and compares them. ``amend``
   writes the result into the passport.

Needs ``pip install "fdikp-edge[export]"``. Run it with::

    python examples/export_and_verify.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from fdikp_edge.benchmarks.accuracy.parity import verify
from fdikp_edge.benchmarks.timing.machine import machine_info
from fdikp_edge.export import build_artifact, lower_model
from fdikp_edge.runtime.errors import FdikpEdgeError
from fdikp_edge.runtime.evidence import parity_evidence
from fdikp_edge.runtime.sessions import open_session
from torch import Tensor, nn

TARGET = "onnx"
PRECISION = "fp32"
SIZE = (256, 256)  # height and width of a tile; photos of any size are cut into such tiles


class Wiener(nn.Module):
    """A Wiener filter for a defocus blur: a disc whose radius is given in pixels."""

    transfer: Tensor

    def __init__(self, radius: float = 2.5, noise: float = 0.01) -> None:
        """Compute the filter for images of :data:`SIZE`."""
        super().__init__()
        rows, columns = (torch.fft.fftfreq(length, d=1 / length) for length in SIZE)
        disc = (torch.hypot(rows[:, None], columns[None, :]) <= radius).float()
        blur = torch.fft.rfft2(disc / disc.sum())
        self.register_buffer("transfer", blur.conj() / (blur.abs().square() + noise))

    def forward(self, image: Tensor) -> Tensor:
        """Map float32 [N, 3, H, W] on a 0 to 1 scale to the same shape and scale."""
        sharp = torch.fft.irfft2(torch.fft.rfft2(image) * self.transfer, s=SIZE)
        return sharp.clamp(0, 1)


def main(folder: Path) -> None:
    """Write the artifact to ``folder`` and print how close it is to PyTorch."""
    network = Wiener().eval()
    lowered = lower_model(network, SIZE, name="wiener")
    artifact = build_artifact(lowered, TARGET, PRECISION, folder)

    with open_session(artifact) as session:
        # Without photos of your own, `verify` takes the samples of the package.
        parity = verify(session, lowered.reference)
        using = session.describe()

    state, reason = parity.verdict()
    artifact = artifact.record(
        parity_evidence(parity.to_dict(), state, reason, where=machine_info(), using=using)
    )
    print(f"{folder}: {artifact.passport.state}")
    print(f"largest error {parity.max_abs:.1e} on a 0 to 1 scale, PSNR {parity.psnr_db:.1f} dB")
    if not parity.within_budget:
        raise SystemExit(1)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else "wiener-onnx-fp32-256x256"))
    except FdikpEdgeError as error:  # such as: the folder exists already
        raise SystemExit(f"error: {error}") from None
