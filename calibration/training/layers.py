"""A network whose layers compute through the rounding of a calibration table, with gradients.

What an int8 artifact rounds, :class:`RoundedLayers` rounds in the network itself: what the chosen layers
read, their weights, and what convolutions make. The gradient passes a rounded value as it is, and stops
where one is clipped (Bengio et al., arXiv 1308.3432; Jacob et al., arXiv 1712.05877).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ...runtime.errors import CalibrationError
from ..emulate import weight_scales
from ..levels import LEVELS
from ..ranges import PERCENTILE
from ..table import CalibrationTable, ProgramCalibration, step

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
"""Modules whose weights have their output channels along the first axis."""


@dataclass
class _Call:
    """One call of a module: the step of what it reads, and of each part of what it makes.

    A convolution may have become several layers of the program, one for each part of its channels.
    ``growth`` is how much larger values are than when the table was made: of the input, then of each part.
    """

    source: float
    parts: list[float | None]
    growth: list[float] = field(default_factory=list)


def rounded_layers(network: nn.Module, table: CalibrationTable, target: str = "") -> RoundedLayers:
    """Return the layers that a table lets compute in 8 bits for a target; the first that it has if empty.

    Raises:
        CalibrationError: the table has nothing for the target, or is of another network.
    """
    keys = [key for key in table.sections if target in ("", key[1])]
    if not keys:
        others = ", ".join(sorted({profile for _, profile in table.sections}))
        raise CalibrationError(f"this table has no layers for {target}, but for {others}: name one of these")
    return RoundedLayers(network, table.section(keys[0]), table.scheme)


class RoundedLayers:
    """The layers of a network that a calibration table lets compute in 8 bits.

    Attributes:
        left_out: layers of the table that are not modules of their own; they stay in floats.
    """

    def __init__(self, network: nn.Module, calibration: ProgramCalibration, scheme: str) -> None:
        """Find the table's layers among the modules of ``network``.

        Args:
            network: what the table was made of; its weights may have changed since.
            calibration: the table's section of the program, ``table.section(key)``.
            scheme: which of the ranges to take, ``table.scheme``.

        Raises:
            CalibrationError: none of the layers is a module of the network.
        """
        self.left_out: list[str] = []
        self._calls: dict[str, list[_Call]] = {}
        modules = dict(network.named_modules())
        seen: dict[tuple[str, str], _Call | None] = {}
        steps = {name: step(statistics.ranges[scheme]) for name, statistics in calibration.tensors.items()}
        for layer in calibration.layers:
            name = layer.module if layer.module in modules else layer.module.partition(".")[2]
            if not isinstance(modules.get(name), LAYERS):
                self.left_out += [] if layer.reason else [layer.label]
                continue
            calls = self._calls.setdefault(name, [])
            key = (name, layer.input)
            if key not in seen:
                seen[key] = None if layer.reason else _Call(steps[layer.input], [])
                calls.append(seen[key] or _Call(0.0, []))
            call = seen[key]
            if call is not None and not layer.reason:
                rounds = not isinstance(modules[name], nn.Linear)  # results of products stay floats
                call.parts.append(steps.get(layer.node) if rounds else None)
        self._calls = {name: calls for name, calls in self._calls.items() if any(c.parts for c in calls)}
        if not self._calls:
            raise CalibrationError("no layer of the calibration table is a module of this network")
        for calls in self._calls.values():
            whole = max(len(call.parts) for call in calls)
            for call in calls:  # a part that nothing reads is no layer of the program
                if call.parts:
                    call.parts = [call.parts[0]] * (whole - len(call.parts)) + call.parts
                call.growth = [1.0] * (1 + len(call.parts))

    @contextlib.contextmanager
    def rounded(self, network: nn.Module) -> Iterator[None]:
        """Inside the block ``network``, of the kind that the table was made of, computes through rounding."""

        def compute(call: _Call, module: nn.Module, x: Tensor) -> Tensor:
            weight: Any = module.weight
            steps = weight_scales(weight.detach()).flatten()
            zeros = torch.zeros(len(steps), dtype=torch.int32, device=steps.device)
            narrow = torch.fake_quantize_per_channel_affine(weight, steps, zeros, 0, -LEVELS, LEVELS)
            x = _rounded(x, call.source * call.growth[0])
            result = _computed(module, narrow, x)
            parts = result.chunk(len(call.parts), 1)
            steps_of_parts = zip(parts, call.parts, call.growth[1:], strict=True)
            rounded_parts = [
                _rounded(part, size * growth) if size else part for part, size, growth in steps_of_parts
            ]
            return torch.cat(rounded_parts, 1) if len(rounded_parts) > 1 else rounded_parts[0]

        with self._calls_of(network, compute):
            yield

    def follow(self, before: nn.Module, now: nn.Module, pictures: Sequence[Tensor]) -> None:
        """Widen and narrow the steps as values have grown since the table was made.

        Args:
            before: the network with the weights that the table was made of.
            now: with the weights as they are.
            pictures: what both are run on, each as the network takes it.
        """
        peaks = [self._peaks(network, pictures) for network in (before, now)]
        for name, calls in self._calls.items():
            for number, call in enumerate(calls):
                for place in range(len(call.growth)):
                    old, new = (peak.get((name, number, place), 0.0) for peak in peaks)
                    call.growth[place] = new / old if old and new else 1.0

    def _peaks(self, network: nn.Module, pictures: Sequence[Tensor]) -> dict[tuple[str, int, int], float]:
        peaks: dict[tuple[str, int, int], float] = {}
        places = {
            id(call): (name, number)
            for name, calls in self._calls.items()
            for number, call in enumerate(calls)
        }

        def compute(call: _Call, module: nn.Module, x: Tensor) -> Tensor:
            result: Tensor = type(module).forward(module, x)
            for place, value in enumerate((x, *result.chunk(len(call.parts), 1))):
                key = (*places[id(call)], place)
                peaks[key] = max(peaks.get(key, 0.0), _peak(value))
            return result

        with torch.no_grad(), self._calls_of(network, compute):
            for picture in pictures:
                network(picture)
        return peaks

    @contextlib.contextmanager
    def _calls_of(
        self, network: nn.Module, compute: Callable[[_Call, nn.Module, Tensor], Tensor]
    ) -> Iterator[None]:
        """Inside the block ``compute`` stands in for each call of a layer in 8 bits."""
        counts: dict[str, int] = {}

        def instead(name: str, module: Any) -> Callable[[Tensor], Tensor]:
            calls, usual = self._calls[name], module.forward

            def forward(x: Tensor) -> Tensor:
                number = counts[name] = counts.get(name, -1) + 1
                call = calls[number] if number < len(calls) else None
                return compute(call, module, x) if call and call.parts else usual(x)

            return forward

        modules: Mapping[str, Any] = dict(network.named_modules())
        own = {name: modules[name].__dict__.get("forward") for name in self._calls}
        begin = network.register_forward_pre_hook(lambda *_: counts.clear())
        try:
            for name in self._calls:
                modules[name].forward = instead(name, modules[name])
            yield
        finally:
            begin.remove()
            for name, forward in own.items():
                modules[name].__dict__.pop("forward", None)
                if forward is not None:  # somebody had put one in the module's place before
                    modules[name].forward = forward


def _computed(module: Any, weight: Tensor, x: Tensor) -> Tensor:
    """Return what a module of :data:`LAYERS` makes with other weights."""
    if isinstance(module, nn.Linear):
        return nn.functional.linear(x, weight, module.bias)
    result: Tensor = module._conv_forward(x, weight, module.bias)  # pads as the module does
    return result


def _rounded(value: Tensor, size: float) -> Tensor:
    return torch.fake_quantize_per_tensor_affine(value, size, 0, -LEVELS - 1, LEVELS)


def _peak(value: Tensor) -> float:
    flat = value.abs().flatten()
    return float(flat.topk(max(1, round(flat.numel() * (1 - PERCENTILE)))).values[-1])
