"""What a step of training minimises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from torch import Tensor, nn

from .losses import Kind, multi_scale_loss

Forward = Callable[[Tensor], Sequence[Tensor]]
"""From pictures [B, 3, H, W] to the results of all scales, the finest last."""


class Objective(Protocol):
    """Something to minimise. ``name`` tells objectives apart: a run goes on with the one that it began with;
    empty for the usual one."""

    name: str

    def begin(self, network: nn.Module) -> None:
        """Look at the network: before the first step, and wherever a run could go on (after each save)."""

    def loss(self, forward: Forward, blurred: Tensor, target: Tensor, seed: int) -> Tensor:
        """Return the loss of a step, a scalar.

        Args:
            forward: the network.
            blurred: float32 [B, 3, H, W], sRGB of 0 to 1.
            target: of the same shape, in focus.
            seed: of this step.
        """


class Restoration:
    """The error of the restored pictures; see :mod:`.losses`."""

    name = ""

    def __init__(self, kind: Kind = "relative") -> None:
        """Count errors as ``kind`` says."""
        self.kind = kind

    def begin(self, network: nn.Module) -> None:
        """Nothing is needed."""

    def loss(self, forward: Forward, blurred: Tensor, target: Tensor, seed: int) -> Tensor:
        """Return the error of what ``forward`` makes of the blurred pictures."""
        return multi_scale_loss(forward(blurred), target, self.kind)
