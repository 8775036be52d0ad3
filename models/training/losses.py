"""What training minimises: squared error at each scale, and the error of the spectrum.

The pair of terms is that of the networks around FDIKP (P2IKT trains with squared error and 0.2 times the mean
absolute error of ``fft2``; MIMO-UNet and DeepRFT with 0.1). Their third one, LPIPS, needs the weights of a
classification network, and is left out: these weights are tuned for fidelity, not for looks.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..fdikp import resize

#: Weight of the spectrum's error beside the squared error.
SPECTRUM_WEIGHT = 0.1
#: Weights of the scales, coarse to fine. The finest is the answer; the others guide it.
SCALE_WEIGHTS = (0.25, 0.5, 1.0)


def multi_scale_loss(outputs: Sequence[Tensor], target: Tensor) -> Tensor:
    """Return the loss, a scalar.

    Args:
        outputs: [B, 3, h, w] each, coarse to fine, the last one of the size of ``target``.
        target: the sharp picture, [B, 3, H, W].
    """
    targets = [target]
    while len(targets) < len(outputs):
        targets.insert(0, resize(targets[0], 0.5))
    total = target.new_zeros(())
    for output, wanted, weight in zip(outputs, targets, SCALE_WEIGHTS[-len(outputs) :], strict=True):
        difference = output.float() - wanted
        # By Parseval the mean square of an ortho-normalised spectrum is that of the picture: the two terms
        # are of one size whatever the crop.
        spectrum = torch.fft.rfft2(difference, norm="ortho")
        error = (difference * difference).mean() + SPECTRUM_WEIGHT * spectrum.abs().mean()
        total = total + weight * error
    return total
