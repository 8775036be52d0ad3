"""What one entry of the network collection holds, and how an entry is made from a class."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Network:
    """One small network that uses `torch.fft`: a name, how to build it, and the shapes it takes.

    `positive` inputs are uniform in [0.05, 1], the others standard normal, both seeded. Inputs are float32.
    """

    name: str
    make: Callable[[], nn.Module]
    shapes: tuple[Shape, ...]
    positive: bool = False

    def build(self) -> nn.Module:
        """The network in eval mode, with the same weights at every call."""
        with torch.random.fork_rng():
            torch.manual_seed(sum(map(ord, self.name)))
            return self.make().eval()

    def inputs(self) -> tuple[Tensor, ...]:
        """Example inputs, the same at every call."""
        generator = torch.Generator().manual_seed(len(self.name))
        if self.positive:
            return tuple(torch.rand(shape, generator=generator) * 0.95 + 0.05 for shape in self.shapes)
        return tuple(torch.randn(shape, generator=generator) for shape in self.shapes)


def to_double(module: nn.Module) -> nn.Module:
    """A copy in double precision, complex parameters and buffers included (`Module.double` leaves those)."""

    def widen(tensor: Tensor) -> Tensor:
        if tensor.is_complex():
            return tensor.to(torch.complex128)
        return tensor.double() if tensor.is_floating_point() else tensor

    return copy.deepcopy(module)._apply(widen)
