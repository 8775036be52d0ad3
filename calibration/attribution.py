"""Which layer's rounding an int8 result owes its error to, in a few runs instead of one run per layer.

Each layer is mixed of itself in floats and in 8 bits: ``a = 0`` is the float program, ``a = 1`` the int8 one.
The integral of the derivative of the squared error by a layer's own ``a``, along the straight line on which
all rise together, is that layer's share: the shares add up to the whole error (integrated gradients:
Sundararajan et al., arXiv 1703.01365). Rounding is passed by its derivative of 1 inside the range and 0
beyond it (the straight-through estimator: Bengio et al., arXiv 1308.3432).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from ..runtime.photo import Array
from .emulate import lowest_of, quantise, weight_scales
from .layers import Layer, kind_of
from .levels import LEVELS
from .runner import Feed, Runner

POINTS = 3
"""Middles of equal pieces of the line. With four, sums of shares were within 2 dB of the error for tiny."""


def error_shares(
    program: ExportedProgram,
    layers: Collection[Layer],
    scales: Mapping[str, float],
    feed: Feed,
    expected: Array,
    limits: tuple[float, float] = (0.0, 1.0),
    *,
    rounded_results: bool = False,
) -> dict[str, float]:
    """Return name of a layer's node -> its share of the mean squared error; together about all of it.

    A share may be negative where one layer's error takes away another's. All are 0 where the output has no
    derivative by them.

    Args:
        program: with one output.
        layers: what computes in 8 bits.
        scales: step of each tensor that they read or make.
        feed: the inputs.
        expected: the output in floats.
        limits: black and white of the output; errors are parts of what lies between.
        rounded_results: whether convolutions return 8 bits, as :class:`.emulate.Int8Runner` has them.
    """
    runner = _Mixed(program, layers, scales, rounded_results)
    low, high = limits
    reference = ((torch.from_numpy(expected).float() - low) / (high - low)).clamp(0, 1)
    shares = dict.fromkeys(runner.layers, 0.0)
    for point in range(POINTS):
        result = (runner.mixed(feed, (point + 0.5) / POINTS) - low) / (high - low)
        error = (result.clamp(0, 1) - reference).square().mean()  # as a photo clips it
        if not error.requires_grad:
            return dict.fromkeys(shares, 0.0)
        error.backward()  # type: ignore[no-untyped-call]
        for name, share in runner.shares.items():
            shares[name] += 0.0 if share.grad is None else float(share.grad) / POINTS
    return shares


def memory_for(program: ExportedProgram) -> int:
    """Return about how many bytes :func:`error_shares` holds at once: every value that the program makes."""
    values = (node.meta.get("val") for node in program.graph.nodes if node.op == "call_function")
    return sum(value.numel() * value.element_size() for value in values if isinstance(value, Tensor))


class _Mixed(Runner):
    """A program whose layers are partly in 8 bits, with a derivative by each part."""

    def __init__(
        self,
        program: ExportedProgram,
        layers: Collection[Layer],
        scales: Mapping[str, float],
        rounded_results: bool,
    ) -> None:
        super().__init__(program)
        self.scales = scales
        self.rounded_results = rounded_results
        self.lowest = lowest_of(rounded_results)
        self.layers = {layer.node: layer for layer in layers}
        self.last = set(program.graph_signature.user_outputs)
        self.stored = {name: value.detach() for name, value in self.stored.items()}
        self.shares: dict[str, Tensor] = {}

    def mixed(self, feed: Feed, share: float) -> Tensor:
        """Return the output with ``share`` of every layer's rounding."""
        self.shares = {name: torch.full((), share, requires_grad=True) for name in self.layers}
        self.start(feed)
        for node in self.graph.nodes:
            self.env[node] = self.run_node(node)  # Runner.step keeps no derivatives
            for dead in self.user_to_last_uses.get(node, ()):
                self.env.pop(dead, None)
        result: Tensor = self.env[node][0]
        return result

    def run_node(self, n: fx.Node) -> Any:
        """Compute a node; a chosen layer on partly rounded operands."""
        layer = self.layers.get(n.name)
        if layer is None:
            value = super().run_node(n)
            return self._whole_number(n, value) if isinstance(value, Tensor) else value
        kind = kind_of(n, self.stored)
        assert kind is not None, n.name
        given, kwargs = self.fetch_args_kwargs_from_env(n)
        args, share = list(given), self.shares[n.name]
        weight, data = args[kind.weight], args[kind.data]
        rounded = quantise(weight, weight_scales(weight, LEVELS, kind.channels))
        args[kind.weight] = weight + share * (rounded - weight)
        args[kind.data] = data + share * (_rounded(data, self.scales[layer.input], self.lowest) - data)
        target: Any = n.target
        result = target(*args, **kwargs)
        if self.rounded_results and kind.is_convolution and n.name not in self.last:
            result = result + share * (_rounded(result, self.scales[n.name], self.lowest) - result)
        return result

    def _whole_number(self, n: fx.Node, value: Tensor) -> Tensor:
        """Let a derivative through where a float becomes a whole number, as where a network makes bytes."""
        source = self.env.get(n.all_input_nodes[0]) if len(n.all_input_nodes) == 1 else None
        if not isinstance(source, Tensor) or not source.requires_grad:
            return value
        if value.requires_grad and not _rounds(n):
            return value
        return source + (value.float() - source).detach() if value.shape == source.shape else value


def _rounds(n: fx.Node) -> bool:
    return str(n.target).partition(".")[2].partition(".")[0] in ("round", "floor", "ceil", "trunc")


def _rounded(value: Tensor, scale: float, lowest: int) -> Tensor:
    inside = value.clamp(lowest * scale, LEVELS * scale)
    return inside + (quantise(inside.detach(), scale, lowest) - inside.detach())
