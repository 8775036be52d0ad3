"""Initial weights: the same for the same seed; the untrained network nearly copies its input."""

from __future__ import annotations

import torch
from torch import nn


def initialise(model: nn.Module, seed: int) -> None:
    """Fill all convolution and linear weights of ``model`` in place, from ``seed`` alone.

    Fan-in scaled normal values keep activations in range; the last layer of every residual branch is scaled
    down so that depth does not amplify, and the last layer of the network so that the output stays close to
    the input. No weight is set to zero: every parameter reaches the output and can be trained and checked.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            fan_in = layer.weight[0].numel()
            std = _gain(name) * fan_in**-0.5
            nn.init.normal_(layer.weight, 0.0, std, generator=generator)
            if layer.bias is not None:
                nn.init.uniform_(layer.bias, -0.02, 0.02, generator=generator)


def _gain(name: str) -> float:
    """Return how much larger than unit gain the layer called ``name`` starts."""
    if name.endswith("dsrm.out"):
        return 0.05
    if ".spatial.2" in name and "dikp" not in name:  # the closing convolution of a residual branch
        return 0.3
    if name.endswith("fourier.mix.2"):
        return 0.3
    if name.endswith("frequency_head.2"):  # values of a spectrum: a tap is their mean, so much smaller
        return 10.0
    if name.endswith("gate"):
        return 3.0
    return 1.0
