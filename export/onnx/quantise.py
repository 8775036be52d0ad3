"""Puts quantise and dequantise nodes into an ONNX graph, once, as a calibration table specifies.

The scheme is what every runtime takes: symmetric, one step for each output channel of the weights, one for
each tensor, biases in floats. Two dialects write the same numbers down:

- ``SIGNED``: int8 with zero point 0, in front of quantised layers only. OpenVINO fuses it through activations
  and runs it fastest; TensorRT takes no other.
- ``UNSIGNED``: uint8 with zero point 128, the same steps, and the results of quantised convolutions rounded
  too. ONNX Runtime on x86 has its fast kernels for this form alone (signed and without rounded results it is
  slower than float32).

Weights go from -127 to 127, or, for processors whose kernels add two products in 16 bits (x86 without VNNI),
from -64 to 64; see ``REDUCED_LEVELS`` of :mod:`fdikp_edge.calibration.levels`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...calibration.layers import Layer
from ...calibration.levels import LEVELS
from ...calibration.table import CalibrationTable, ProgramCalibration, ProgramKey
from ...runtime.errors import LoweringError
from ...runtime.passport import QUANTISED_LAYERS, REDUCED_WEIGHTS
from .checks import LAYERS, source_node

if TYPE_CHECKING:
    import onnx

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Dialect:
    """How quantised tensors are written: their type, and whether results of convolutions are rounded too."""

    dtype: type[np.int8] | type[np.uint8]
    zero_point: int
    results: bool


SIGNED = Dialect(np.int8, 0, results=False)
UNSIGNED = Dialect(np.uint8, 128, results=True)


def quantise(
    model: onnx.ModelProto,
    table: CalibrationTable,
    key: ProgramKey,
    dialect: Dialect,
    weight_levels: int = LEVELS,
) -> list[Layer]:
    """Quantise a float32 model in place, and return the layers that compute in 8 bits now.

    The largest weight of each of their output channels becomes ``weight_levels``. Of layers that compute in
    floats the weights alone are stored in 8 bits, from -127 to 127, if the table specifies it.

    Raises:
        CalibrationError: the table was made for another program or profile.
        LoweringError: a layer of the table is not in the file, or is not what it was.
    """
    section = table.section(key)
    scales = {name: table.scale(key, name) for name in section.tensors}
    layers = section.quantised()
    _Quantiser(model, dialect, scales, weight_levels).run(
        [layer for layer in section.layers if not layer.reason or layer.weights_only]
    )
    return layers


def census(
    table: CalibrationTable | None, key: ProgramKey, precision: str, weight_levels: int = LEVELS
) -> dict[str, int]:
    """Return how many layers compute in 8 bits, which the types of a file's values do not show; and how many
    of them with weights of 7 bits."""
    if precision != "int8" or table is None:
        return {}
    layers = len(table.section(key).quantised())
    return {QUANTISED_LAYERS: layers, **({REDUCED_WEIGHTS: layers} if weight_levels < LEVELS else {})}


def describe_weights(precision: str, weight_levels: int) -> list[str]:
    """Say which range int8 weights have, and on which processors sums of their products are exact."""
    if precision != "int8":
        return []
    where = (
        "on every processor"
        if weight_levels < LEVELS
        else "except on x86 processors without VNNI, where sums saturate; option weights=7bit avoids that"
    )
    return [f"int8: weights from -{weight_levels} to {weight_levels}: exact sums {where}"]


def describe(section: ProgramCalibration, biases: str = "float32") -> list[str]:
    """Say which layers compute in 8 bits, what their biases are, and, by reason, which layers do not."""
    quantised = section.quantised()
    share = sum(layer.macs for layer in quantised) / max(1, sum(layer.macs for layer in section.layers))
    notes = [
        f"int8: {len(quantised)} of {len(section.layers)} layers, {share:.0%} of their multiply-adds; "
        f"symmetric, weights by channel, biases {biases}"
    ]
    held: dict[str, list[Layer]] = {}
    for layer in section.layers:
        if layer.reason:
            held.setdefault(layer.reason, []).append(layer)
    for reason, layers in held.items():
        modules = list(dict.fromkeys(layer.module or "the root module" for layer in layers))
        more = f" and {len(modules) - 4} more" if len(modules) > 4 else ""
        notes.append(f"float32: {len(layers)} layers ({', '.join(modules[:4])}{more}): {reason}")
    return notes


class _Quantiser:
    def __init__(
        self, model: onnx.ModelProto, dialect: Dialect, scales: Mapping[str, float], weight_levels: int
    ) -> None:
        self.graph = model.graph
        self.dialect = dialect
        self.scales = scales
        self.weight_levels = weight_levels
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.rounded: dict[tuple[str, float], str] = {}
        self.weights: dict[tuple[str, int, int], str] = {}
        self.before: dict[int, list[Any]] = {}
        self.after: dict[int, list[Any]] = {}

    def run(self, layers: list[Layer]) -> None:
        nodes = list(self.graph.node)
        places: dict[str, int] = {}
        for index, node in enumerate(nodes):
            if node.op_type in LAYERS and (name := source_node(node)):
                places.setdefault(name, index)
        for layer in sorted(layers, key=lambda entry: places.get(entry.node, -1)):
            if layer.node not in places and layer.weights_only:
                continue
            if layer.node not in places:
                raise LoweringError(f"model.onnx: layer {layer.label} of the calibration table is not in it")
            self._layer(nodes, places[layer.node], layer)
        del self.graph.node[:]
        for index, node in enumerate(nodes):
            self.graph.node.extend([*self.before.get(index, []), node, *self.after.get(index, [])])
        self._drop_unread()

    def _layer(self, nodes: list[Any], index: int, layer: Layer) -> None:
        node = nodes[index]
        places = [place for place in (1, 0) if node.input[place] in self.constants]
        if len(places) != 1:
            if layer.weights_only:
                return  # the exporter left something between: they stay as they are
            raise LoweringError(f"model.onnx: the weights of layer {layer.label} are not stored in it")
        (weight,), data = places, 1 - places[0]
        if layer.weights_only:
            node.input[weight] = self._weights(node, weight, index, LEVELS)
            return
        node.input[data] = self._round(node.input[data], self.scales[layer.input], self.before, index)
        node.input[weight] = self._weights(node, weight, index, self.weight_levels)
        if self.dialect.results and node.op_type == "Conv":
            plain = node.output[0]
            readers = [(n, i) for n in nodes for i, name in enumerate(n.input) if name == plain]
            if any(plain == output.name for output in self.graph.output):
                return
            rounded = self._round(plain, self.scales[layer.node], self.after, index)
            for reader, place in readers:
                reader.input[place] = rounded

    def _round(self, name: str, scale: float, where: dict[int, list[Any]], index: int) -> str:
        """Return the name of ``name`` rounded to 8 bits; the pair of nodes is shared by all that read it."""
        from onnx import helper

        key = (name, scale)
        if key not in self.rounded:
            stem = f"{name}_8bit" + ("" if not self._taken(name) else f"_{len(self.rounded)}")
            step = self._constant(f"{stem}_scale", np.array(scale, np.float32))
            zero = self._constant(f"{stem}_zero", np.array(self.dialect.zero_point, self.dialect.dtype))
            quantised = helper.make_node(
                "QuantizeLinear", [name, step, zero], [f"{stem}_q"], name=f"{stem}_quantise"
            )
            back = helper.make_node(
                "DequantizeLinear", [f"{stem}_q", step, zero], [stem], name=f"{stem}_dequantise"
            )
            where.setdefault(index, []).extend([quantised, back])
            self.rounded[key] = stem
        return self.rounded[key]

    def _taken(self, name: str) -> bool:
        return any(known == name for known, _ in self.rounded)

    def _weights(self, node: Any, place: int, index: int, levels: int) -> str:
        from onnx import helper, numpy_helper

        name = node.input[place]
        weight = numpy_helper.to_array(self.constants[name])
        axis = _output_axis(node, place, weight.ndim)
        if (name, levels, axis) not in self.weights:
            others = tuple(i for i in range(weight.ndim) if i != axis)
            peak = np.abs(weight).max(axis=others)
            step = np.where(peak > 0, peak / levels, 1).astype(np.float32)
            shape = [-1 if i == axis else 1 for i in range(weight.ndim)]
            # Half to even, as the emulation and every runtime round.
            whole = np.clip(np.rint(weight / step.reshape(shape)), -levels, levels).astype(np.int8)
            stem = f"{name}_8bit" if levels == LEVELS else f"{name}_7bit"
            if any(known[:2] == (name, levels) for known in self.weights):
                stem += f"_axis{axis}"
            inputs = [
                self._constant(f"{stem}_q", whole),
                self._constant(f"{stem}_scale", step),
                self._constant(f"{stem}_zero", np.zeros(step.shape, np.int8)),
            ]
            back = helper.make_node("DequantizeLinear", inputs, [stem], name=f"{stem}_dequantise", axis=axis)
            self.before.setdefault(index, []).append(back)
            self.weights[name, levels, axis] = stem
        return self.weights[name, levels, axis]

    def _constant(self, name: str, value: Array) -> str:
        from onnx import numpy_helper

        self.graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def _drop_unread(self) -> None:
        read = {name for node in self.graph.node for name in node.input}
        read |= {output.name for output in self.graph.output}
        kept = [tensor for tensor in self.graph.initializer if tensor.name in read]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)


def _output_axis(node: Any, place: int, rank: int) -> int:
    """The axis of the weights, the input ``place`` of a node, along which output channels lie."""
    if node.op_type in ("Conv", "ConvTranspose"):
        return 0 if node.op_type == "Conv" else 1
    flipped = next((entry.i for entry in node.attribute if entry.name == ("transA", "transB")[place]), 0)
    rows, columns = rank - 2, rank - 1
    return rows if (place == 0) != bool(flipped) else columns
