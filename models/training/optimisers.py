"""The optimisers that training chooses from: AdamW, and Muon for what multiplies many channels.

Muon moves a matrix of weights along the orthogonal matrix nearest to its momentum, so that directions which
few pictures ask for move as much as the others: Jordan et al., "Muon: An optimizer for hidden layers in
neural networks" (https://kellerjordan.github.io/posts/muon, 2024). The factor that gives its steps the size
of AdamW's, and with it one learning rate for both, is that of Liu et al., "Muon is Scalable for LLM Training"
(arXiv:2502.16982). ``torch.optim.Muon`` takes matrices alone; a convolution is one here, [outputs, the rest].
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn

Kind = Literal["adamw", "muon"]
BETAS = (0.9, 0.99)
MOMENTUM = 0.95
"""Of Muon, with Nesterov's look ahead."""
SMALLEST = 16
"""Weights with fewer outputs, or fewer values for each, are AdamW's: depthwise kernels, biases."""
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_SCALE = 0.2


def optimiser(
    kind: Kind, parameters: Iterable[nn.Parameter], rate: float, decay: float
) -> torch.optim.Optimizer:
    """Return an optimiser whose state of each parameter is ``step``, ``exp_avg`` and ``exp_avg_sq``.

    Args:
        kind: "adamw" or "muon".
        parameters: what to train.
        rate: learning rate.
        decay: of the weights, taken from them apart from the gradient.
    """
    if kind == "muon":
        return Muon(parameters, rate, decay)
    return torch.optim.AdamW(parameters, lr=rate, betas=BETAS, weight_decay=decay)


class Muon(torch.optim.Optimizer):
    """Muon for matrices and dense convolutions, AdamW for the rest."""

    def __init__(self, parameters: Iterable[nn.Parameter], rate: float, decay: float) -> None:
        """Train ``parameters``; see :func:`optimiser`."""
        super().__init__(parameters, {"lr": rate, "weight_decay": decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move the parameters once. ``closure`` is what :class:`torch.optim.Optimizer` allows; not used."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.sub_(self._direction(parameter), alpha=group["lr"])

    def _direction(self, parameter: Tensor) -> Tensor:
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"] += 1
        mean, square, steps = state["exp_avg"], state["exp_avg_sq"], float(state["step"])
        if is_matrix(parameter):
            mean.lerp_(gradient, 1 - MOMENTUM)
            ahead = gradient.lerp(mean, MOMENTUM).flatten(1)
            size = _SCALE * math.sqrt(max(ahead.shape))
            return orthogonal(ahead).mul_(size).reshape(parameter.shape)
        mean.lerp_(gradient, 1 - BETAS[0])
        square.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
        corrections = [1 - math.pow(beta, steps) for beta in BETAS]
        direction: Tensor = mean / corrections[0] / ((square / corrections[1]).sqrt() + 1e-8)
        return direction


def is_matrix(parameter: Tensor) -> bool:
    """Say whether Muon moves a parameter as a matrix; AdamW moves it otherwise."""
    return parameter.ndim > 1 and min(parameter.shape[0], parameter[0].numel()) >= SMALLEST


def orthogonal(matrix: Tensor) -> Tensor:
    """Return nearly the orthogonal matrix nearest to [m, n], with singular values of about 0.7 to 1.2.

    Five steps of Newton and Schulz's iteration with Jordan's coefficients, which rise fast and need not
    converge. Small singular values, below about 0.001 of the norm, stay below 0.7.
    """
    a, b, c = _QUINTIC
    tall = matrix.shape[0] > matrix.shape[1]
    x: Tensor = matrix.mT if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x
