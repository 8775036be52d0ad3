"""Keeps values in 8 bits from one convolution to the next, where that changes nothing but speed.

Every convolution in 8 bits starts between an operator that rounds and one that widens (:mod:`.eight_bits`).
The rules here drop such pairs, and let operators between them compute in 8 bits. A value that something reads
in floats stays a float, so a result differs by what an operator in 8 bits rounds less than one step.
"""

from typing import Any

import numpy as np

from .graph import Graph

_MOVING = {
    "RESHAPE": 1,
    "TRANSPOSE": 2,
    "SLICE": 2,
    "STRIDED_SLICE": 2,
    "PAD": 2,
    "MIRROR_PAD": 2,
    "SQUEEZE": 1,
    "EXPAND_DIMS": 1,
    "CONCATENATION": 2,
}
"""Operator that moves values -> first version that moves bytes. What ``PAD`` puts in is 0 in both."""
_COMPUTING = {"LEAKY_RELU": 2, "ADD": 2}
"""Operator -> first version that computes in 8 bits."""
_RATIOS = (2.0**-8, 2.0**7)
"""Ratios of two steps between which XNNPACK has kernels."""


def join(graph: Graph) -> None:
    """Apply the rules until none applies."""
    while _Pass(graph).run():
        pass


class _Pass:
    """One look at all operators, which ends with the first change."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.makers, self.readers = graph.makers(), graph.readers()
        self.ends = {int(place) for place in graph.graph.outputs}

    def run(self) -> bool:
        """Return whether something was changed."""
        return any(self._change(operator, self.graph.kind(operator)) for operator in self.graph.operators)

    def _change(self, operator: Any, kind: str) -> bool:
        if kind == "QUANTIZE":
            return self._drop_pair(operator) or self._round_before(operator)
        return kind in _MOVING and kind != "CONCATENATION" and self._widen_after(operator, kind)

    def _drop_pair(self, rounding: Any) -> bool:
        """Widening and rounding: with the same step nothing, with another one operator."""
        (source,), (result,) = rounding.inputs, rounding.outputs
        narrow = self._widened(source)
        if narrow is None:
            return False
        if self.graph.step(narrow) == self.graph.step(result):
            self.graph.replace(result, narrow)
            self.graph.operators.remove(rounding)
            return True
        ratio = self.graph.step(narrow) / self.graph.step(result)
        if not _RATIOS[0] <= ratio <= _RATIOS[1]:
            return False
        rounding.inputs, rounding.opcodeIndex = [narrow], self.graph.code("QUANTIZE", 2)
        return True

    def _round_before(self, rounding: Any) -> bool:
        """An operator whose result is only read rounded: let it read and make 8 bits."""
        (source,), (result,) = rounding.inputs, rounding.outputs
        maker = self.makers.get(source)
        if maker is None or source in self.ends or len(self.readers[source]) != 1:
            return False
        kind, version = self.graph.kind(maker), self.graph.version(maker)
        if kind in _MOVING:
            step = self.graph.step(result)
            moved = len(maker.inputs) if kind == "CONCATENATION" else 1
            sources = [self._narrow(int(place), step) for place in maker.inputs[:moved]]
            maker.inputs, needed = [*sources, *maker.inputs[moved:]], _MOVING[kind]
        elif kind in _COMPUTING:
            narrow = [self._widened(int(place)) for place in maker.inputs]
            if None in narrow or not all(self._near(place, result) for place in narrow):
                return False
            maker.inputs, needed = narrow, _COMPUTING[kind]
        else:
            return False
        maker.outputs, maker.opcodeIndex = [result], self.graph.code(kind, max(version, needed))
        self.graph.operators.remove(rounding)
        return True

    def _widen_after(self, operator: Any, kind: str) -> bool:
        """An operator that moves values which were just widened: move bytes, and widen behind it."""
        source, (result,) = int(operator.inputs[0]), operator.outputs
        narrow = self._widened(source)
        if narrow is None:
            return False
        moved = self.graph.add_tensor(int(result), "_int8", "INT8", self.graph.step(narrow))
        operator.inputs = [narrow, *operator.inputs[1:]]
        operator.outputs = [moved]
        operator.opcodeIndex = self.graph.code(kind, max(self.graph.version(operator), _MOVING[kind]))
        self.graph.operators.append(self.graph.operator("DEQUANTIZE", 2, moved, int(result)))
        return True

    def _widened(self, place: int) -> int | None:
        """Return the 8 bits that a float tensor was widened from."""
        maker = self.makers.get(place)
        if maker is None or self.graph.kind(maker) != "DEQUANTIZE":
            return None
        return int(maker.inputs[0])

    def _near(self, narrow: int | None, result: int) -> bool:
        assert narrow is not None
        return _RATIOS[0] <= self.graph.step(narrow) / self.graph.step(result) <= _RATIOS[1]

    def _narrow(self, place: int, step: float) -> int:
        """Return a tensor rounded to 8 bits: a stored one at once."""
        values = self.graph.constant(place)
        if values is not None:
            levels = np.clip(np.rint(values / np.float32(step)), -128, 127).astype(np.int8)
            return self.graph.add_constant(place, "_int8", levels, step)
        for reader in self.readers[place]:
            if self.graph.kind(reader) == "QUANTIZE" and self.graph.step(reader.outputs[0]) == step:
                return int(reader.outputs[0])
        narrow = self.graph.add_tensor(place, "_int8", "INT8", step)
        self.graph.operators.append(self.graph.operator("QUANTIZE", 1, place, narrow))
        return narrow
