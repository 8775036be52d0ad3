"""What training minimises: squared error at each scale, and the error of the spectrum.

Summed as they are, strongly blurred pictures drown the others: their error is a hundred times that of a
slightly blurred one, which the network then learns to spoil. The logarithm of each picture's error counts how
much better it got relative to itself, as PSNR does.

The pair of terms is that of the networks around FDIKP (P2IKT trains with squared error and 0.2 times the mean
absolute error of ``fft2``; MIMO-UNet and DeepRFT with 0.1). Their third one, LPIPS, needs the weights of a
classification network, and is left out: these weights are tuned for fidelity, not for looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from ..fdikp.fdikp import resize

#: How the errors of several pictures are put together.
Kind = Literal["plain", "relative"]
#: Error below which "relative" stops asking for more, about that of a picture at 53 dB.
FLOOR = 2e-4
#: Weight of the spectrum's error beside the squared error.
SPECTRUM_WEIGHT = 0.1
#: Weights of the scales, coarse to fine. The finest is the answer; the others guide it.
SCALE_WEIGHTS = (0.25, 0.5, 1.0)


def multi_scale_loss(outputs: Sequence[Tensor], target: Tensor, kind: Kind = "plain") -> Tensor:
    """Return the loss, a scalar, 0 for the right answer.

    Args:
        outputs: [B, 3, h, w] each, coarse to fine, the last one of the size of ``target``.
        target: the sharp picture, [B, 3, H, W].
        kind: "plain" for the mean of the errors, "relative" for that of ``log(1 + error / FLOOR)``.
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
        within = (1, 2, 3)  # each picture by itself
        error = (difference * difference).mean(within) + SPECTRUM_WEIGHT * spectrum.abs().mean(within)
        total = total + weight * (torch.log1p(error / FLOOR) if kind == "relative" else error).mean()
    return total
