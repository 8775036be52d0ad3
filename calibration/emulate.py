"""What a precision does to the picture, computed in torch: real rounding, on any machine.

Runtimes on a processor hide float16: OpenVINO computes it in float32 on most, ONNX Runtime casts around each
operator. Here every value is rounded where a device that computes in float16 or int8 would round it, with
sums in float32, as matrix units keep them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from ..runtime.photo import Array
from .layers import Layer, kind_of
from .levels import LEVELS
from .runner import Runner


def quantise(value: Tensor, scale: float | Tensor, lowest: int = -LEVELS) -> Tensor:
    """Round to the nearest of 255 symmetric steps of ``scale`` (half to even), clip, and scale back."""
    return torch.clamp(torch.round(value / scale), lowest, LEVELS) * scale


def weight_scales(weight: Tensor, levels: int = LEVELS, axis: int = 0) -> Tensor:
    """Return the step of each output channel (along ``axis``), shaped to divide ``weight``; 1 for a zero one.

    ``levels`` is the 8-bit value that the largest weight of a channel becomes.
    """
    others = tuple(dim for dim in range(weight.dim()) if dim != axis)
    peak = weight.abs().amax(dim=others, keepdim=True)
    return torch.where(peak > 0, peak / levels, torch.ones_like(peak))


def to_tf32(value: Tensor) -> Tensor:
    """Round float32 to ten bits of mantissa, to the nearest, halves away from 0, as tensor cores read it."""
    bits = value.contiguous().view(torch.int32)
    return ((bits + 0x1000) & ~0x1FFF).view(torch.float32)


def lowest_of(rounded_results: bool) -> int:
    """Return the lowest step of a value: runtimes that round results use all 256 values of 8 bits."""
    return -LEVELS - 1 if rounded_results else -LEVELS


class Int8Runner(Runner):
    """Runs a program with the inputs and weights of some layers rounded to 8 bits.

    With ``rounded_results`` as runtimes whose convolutions return 8 bits have them: a 256th step below, and
    the results of convolutions rounded as well, but for one that is the program's own result.
    """

    def __init__(
        self,
        program: ExportedProgram,
        layers: Collection[Layer],
        scales: Mapping[str, float],
        *,
        rounded_results: bool = False,
        weight_levels: int = LEVELS,
    ) -> None:
        """Hold the layers that compute in 8 bits, the scale of each tensor they read (and make), and the
        largest 8-bit value of a weight."""
        super().__init__(program)
        self.scales = scales
        self.layers = {layer.node: layer for layer in layers}
        self.rounded_results = rounded_results
        self.weight_levels = weight_levels
        self.lowest = lowest_of(rounded_results)
        self.last = set(program.graph_signature.user_outputs)

    def run_node(self, n: fx.Node) -> Any:
        """Compute a node; a chosen layer on rounded operands."""
        layer = self.layers.get(n.name)
        if layer is None:
            return super().run_node(n)
        kind = kind_of(n, self.stored)
        assert kind is not None, n.name
        given, kwargs = self.fetch_args_kwargs_from_env(n)
        args = list(given)
        weight = args[kind.weight]
        args[kind.weight] = quantise(weight, weight_scales(weight, self.weight_levels, kind.channels))
        args[kind.data] = quantise(args[kind.data], self.scales[layer.input], self.lowest)
        target: Any = n.target
        result = target(*args, **kwargs)
        if self.rounded_results and kind.is_convolution and n.name not in self.last:
            result = quantise(result, self.scales[layer.node], self.lowest)
        return result

    def each_alone(self, array: Array) -> Iterator[tuple[Layer, Array]]:
        """Yield each layer, in the order of the program, with the result of it alone in 8 bits.

        What comes before a layer is the same as in floats, and is computed once for all.
        """
        nodes, layers = list(self.graph.nodes), self.layers
        self.start(array)
        for index, node in enumerate(nodes):
            if node.name in layers:
                before = dict(self.env)
                self.layers = {node.name: layers[node.name]}
                yield layers[node.name], self.finish(nodes[index:])
                self.env = before
            self.layers = {}
            self.step(node)
        self.layers = layers


class HalfRunner(Runner):
    """Runs a program with every value rounded to float16, but for the nodes named in ``float32_layers``.

    Overflow gives infinity, as on a device.
    """

    def __init__(self, program: ExportedProgram, float32_layers: Collection[str] = ()) -> None:
        """Hold what stays in float32: names of nodes, of stored tensors too."""
        super().__init__(program)
        self.float32_layers = set(float32_layers)

    def run_node(self, n: fx.Node) -> Any:
        """Compute a node in float32 and round its result."""
        value = super().run_node(n)
        if not isinstance(value, Tensor) or not value.is_floating_point() or n.name in self.float32_layers:
            return value
        return value.half().float()


class Tf32Runner(Runner):
    """Runs a program with both factors of every product and convolution rounded to TF32; sums in float32.

    That is what float32 is on NVIDIA GPUs from Ampere unless TF32 is switched off.
    """

    def run_node(self, n: fx.Node) -> Any:
        """Compute a node, a product or convolution on rounded factors."""
        places = _FACTORS.get(str(n.target).removeprefix("aten.").partition(".")[0])
        if places is None:
            return super().run_node(n)
        given, kwargs = self.fetch_args_kwargs_from_env(n)
        args = list(given)
        for place in places:
            if isinstance(args[place], Tensor) and args[place].dtype == torch.float32:
                args[place] = to_tf32(args[place])
        target: Any = n.target
        return target(*args, **kwargs)


_FACTORS = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "convolution", "linear", "matmul", "mm", "bmm"), (0, 1)),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), (0, 1)),
    **dict.fromkeys(("addmm", "baddbmm"), (1, 2)),
}
"""Operator -> places of its factors among its arguments."""
