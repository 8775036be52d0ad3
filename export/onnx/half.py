"""Casts an ONNX graph to float16 or bfloat16 but for the islands that stay float32.

The precision is in the file, not in a flag: a strongly typed TensorRT network, ONNX Runtime and OpenVINO read
the same casts. Ports keep their types.

The ONNX standard types the operands of each operator by variables: operands of one variable must agree, and a
variable may exclude float16 (the scales of ``Resize``, all of ``IsInf``). The casts follow from these
declarations, so no operator is named here except those whose attributes name a type. bfloat16 has the range
of float32, so its files have no islands; the standard admits it in all layers from opset 22.

An operator that compares floats (``Greater``, ``Equal``) reads float32 always: a threshold rounded to float16
can change the result of a comparison from one side to the other, while a cast to float32 is exact.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...runtime.errors import LoweringError
from .checks import LAYERS, source_node

if TYPE_CHECKING:
    import onnx

FLOAT, HALF, BFLOAT16 = 1, 10, 16
NARROW_NAMES = {HALF: "float16", BFLOAT16: "bfloat16"}
_TYPE_STRINGS = {HALF: "tensor(float16)", BFLOAT16: "tensor(bfloat16)"}
BFLOAT16_OPSET, BFLOAT16_IR = 22, 10
"""The first in which convolutions and poolings may be bfloat16, and the file format that it belongs to."""
_MODES = {b"bilinear": b"linear", b"bicubic": b"cubic"}
"""What ``GridSample`` calls its modes before and from opset 20."""
REMAINDER_OPSET = 19
"""The first in which values between 8 bits and floats may be float16; TensorRT 10.3 reads it."""
_STEP_ERROR = 2.0**-8
"""How far a step of 8-bit values may be off in float16, as a part of itself: half of what rounding to 127
steps costs the largest value."""


@dataclass(frozen=True)
class _Operand:
    """An input or output of an operator: its type variable, and whether this admits the narrow type."""

    variable: str
    narrow: bool


@dataclass(frozen=True)
class _Signature:
    """The operands of an operator; the last input and output may repeat."""

    inputs: tuple[_Operand, ...]
    outputs: tuple[_Operand, ...]

    def input(self, place: int) -> _Operand:
        """The declaration of an input."""
        return self.inputs[min(place, len(self.inputs) - 1)]

    def makes_narrow(self, place: int) -> bool:
        """Whether an output is narrow if the inputs are: its type may be narrow, and follows theirs."""
        output = self.outputs[min(place, len(self.outputs) - 1)]
        return output.narrow and any(operand.variable == output.variable for operand in self.inputs)


@functools.cache
def _signature(operator: str, version: int, kind: int) -> _Signature:
    from onnx import defs

    schema = defs.get_schema(operator, version, "")
    allowed = {entry.type_param_str: entry.allowed_type_strs for entry in schema.type_constraints}

    def read(operand: Any) -> _Operand:
        return _Operand(operand.type_str, _TYPE_STRINGS[kind] in allowed.get(operand.type_str, ()))

    return _Signature(tuple(map(read, schema.inputs)), tuple(map(read, schema.outputs)))


def narrow(model: onnx.ModelProto, float32_layers: Collection[str]) -> dict[str, int]:
    """Turn a float32 model into float16 in place.

    Args:
        model: float32, shapes inferable.
        float32_layers: names of nodes of the program that stay in float32.

    Returns:
        How many nodes compute in float16 and in float32, and how many casts stand between.
    """
    return _Caster(model, set(float32_layers), HALF).run()


def narrow_to_bfloat16(model: onnx.ModelProto) -> dict[str, int]:
    """Turn a float32 model into bfloat16 in place, and into opset 22.

    Returns:
        How many nodes compute in bfloat16 and in float32, and how many casts stand between.

    Raises:
        LoweringError: a model with transforms of the runtime's own, which are written differently from
            opset 20.
    """
    for node in model.graph.node:
        if node.op_type == "DFT":
            raise LoweringError("bf16: a transform of the runtime's own stays in opset 18; use products")
        for attribute in node.attribute:
            if node.op_type == "GridSample" and attribute.name == "mode":
                attribute.s = _MODES.get(attribute.s, attribute.s)
    _raise_opset(model, BFLOAT16_OPSET)
    model.ir_version = max(model.ir_version, BFLOAT16_IR)
    return _Caster(model, set(), BFLOAT16).run()


def describe_bfloat16(counts: Mapping[str, int]) -> list[str]:
    """Return a note on the counts of :func:`narrow_to_bfloat16`."""
    narrow, wide, casts = counts["bfloat16"], counts["float32"], counts["casts"]
    return [f"bf16: {narrow} nodes in bfloat16, {wide} in float32, {casts} casts"]


def narrow_remainder(model: onnx.ModelProto, float32_layers: Collection[str]) -> dict[str, int]:
    """Turn what an int8 model computes in float32 into float16 in place; arguments and result as
    :func:`narrow`.

    Steps of 8-bit values become float16 too, since a runtime takes the type of the floats from them. A layer
    one of whose steps float16 cannot hold stays in float32.
    """
    _raise_opset(model, REMAINDER_OPSET)
    return narrow(model, float32_layers)


def _raise_opset(model: onnx.ModelProto, version: int) -> None:
    for versions in (model.opset_import, *(function.opset_import for function in model.functions)):
        for entry in versions:
            if entry.domain in ("", "ai.onnx"):
                entry.version = max(entry.version, version)


def has_half(model: onnx.ModelProto) -> bool:
    """Whether a model has casts to float16 or constants of it."""
    return any(tensor.data_type == HALF for tensor in model.graph.initializer) or any(
        node.op_type == "Cast" and any(entry.name == "to" and entry.i == HALF for entry in node.attribute)
        for node in model.graph.node
    )


class _Caster:
    def __init__(self, model: onnx.ModelProto, float32_layers: set[str], narrow: int) -> None:
        import onnx

        self.narrow = narrow
        self.model = model
        self.graph = model.graph
        self.float32_layers = float32_layers
        self.constants = {tensor.name: tensor for tensor in self.graph.initializer}
        inferred = onnx.shape_inference.infer_shapes(model)
        values = [*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output]
        self.kinds = {value.name: value.type.tensor_type.elem_type for value in values}
        self.version = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
        self.home: dict[str, int] = {value.name: FLOAT for value in self.graph.input}
        self.converted: dict[tuple[str, int], str] = {}
        self.nodes: list[Any] = []
        self.readers: dict[str, list[Any]] = {}
        for node in self.graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        makers = {name: node for node in self.graph.node for name in node.output}
        coarse = {
            name
            for name, node in makers.items()
            if node.op_type == "DequantizeLinear" and not self._holds_step(node)
        }
        self.coarse = {
            node.output[0]
            for node in self.graph.node
            if node.op_type in LAYERS and not coarse.isdisjoint(node.input)
        }

    def run(self) -> dict[str, int]:
        nodes, counts = list(self.graph.node), {NARROW_NAMES[self.narrow]: 0, "float32": 0, "casts": 0}
        for node in nodes:
            floats = [place for place, name in enumerate(node.output) if self.kinds.get(name) == FLOAT]
            kind = self._kind(node, bool(floats))
            homes = {node.output[place]: self._result(node, place, kind) for place in floats}
            if floats:
                counts[NARROW_NAMES[self.narrow] if self.narrow in homes.values() else "float32"] += 1
            self._inputs(node, kind)
            if node.op_type == "Cast" and kind == self.narrow:
                for attribute in node.attribute:
                    if attribute.name == "to" and attribute.i == FLOAT:
                        attribute.i = self.narrow
            self.home |= homes
            self.nodes.append(node)
        before = len(nodes)
        for output in self.graph.output:
            if self.kinds.get(output.name) == FLOAT and self.home[output.name] == self.narrow:
                self._restore_output(output.name)
        counts["casts"] = len(self.nodes) - before
        del self.graph.node[:], self.graph.value_info[:]
        self.graph.node.extend(self.nodes)
        read = {name for node in self.nodes for name in node.input}
        kept = [tensor for tensor in self.graph.initializer if tensor.name in read]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)
        return counts

    def _kind(self, node: Any, makes_floats: bool) -> int | None:
        """The type that the floats of a node have, where its operands admit both; ``None``: either."""
        # Runtimes that have a transform of their own have it in float32, and not all of them in float16.
        if node.op_type == "DFT" or not _is_standard(node):
            return FLOAT
        if node.op_type == "QuantizeLinear":
            known = self.home.get(node.input[0], FLOAT)
            return known if self.version >= REMAINDER_OPSET and self._holds_step(node) else FLOAT
        if node.op_type == "DequantizeLinear":  # as its readers, which take the type of their floats from it
            readers = self.readers.get(node.output[0], [])
            wide = any(map(self._is_float32_layer, readers)) or not self._holds_step(node)
            return FLOAT if wide else self.narrow
        if makes_floats:
            return FLOAT if self._is_float32_layer(node) else self.narrow
        compared = sum(self._is_float(name) for name in node.input)
        return FLOAT if compared > 1 else None

    def _is_float32_layer(self, node: Any) -> bool:
        return source_node(node) in self.float32_layers or node.output[0] in self.coarse

    def _holds_step(self, node: Any) -> bool:
        """Whether float16 holds the steps of a node that quantises or dequantises."""
        from onnx import numpy_helper

        if node.input[1] not in self.constants:
            return False
        step = numpy_helper.to_array(self.constants[node.input[1]]).astype(np.float64)
        with np.errstate(over="ignore"):
            rounded = step.astype(np.float16).astype(np.float64)
        return bool(np.all(np.abs(rounded - step) <= _STEP_ERROR * np.abs(step)))

    def _result(self, node: Any, place: int, kind: int | None) -> int:
        """The type of a float output of a node whose kind is ``kind``."""
        if kind != self.narrow or node.op_type == "Cast":
            return kind or FLOAT
        return self.narrow if self._signature(node).makes_narrow(place) else FLOAT

    def _signature(self, node: Any) -> _Signature:
        return _signature(node.op_type, self.version, self.narrow)

    def _inputs(self, node: Any, kind: int | None) -> None:
        for place, name in enumerate(node.input):
            if not self._is_float(name):
                continue
            admits = not _is_standard(node) or self._signature(node).input(place).narrow
            wanted = kind if admits else FLOAT
            if name in self.constants:
                if wanted == self.narrow:
                    node.input[place] = self._constant(name)
            elif wanted not in (None, self.home.get(name, FLOAT)):
                node.input[place] = self._cast(name, wanted)

    def _is_float(self, name: str) -> bool:
        """Whether a value was float32 in the model as it was given."""
        if name in self.constants:
            return bool(self.constants[name].data_type == FLOAT)
        return self.kinds.get(name) == FLOAT

    def _constant(self, name: str) -> str:
        from onnx import numpy_helper

        if (name, self.narrow) not in self.converted:
            self.converted[name, self.narrow] = f"{name}_half"
            value = _narrowed(numpy_helper.to_array(self.constants[name]), self.narrow)
            self.graph.initializer.append(numpy_helper.from_array(value, f"{name}_half"))
        return self.converted[name, self.narrow]

    def _cast(self, name: str, kind: int) -> str:
        from onnx import helper

        if (name, kind) not in self.converted:
            cast = f"{name}_{'half' if kind == self.narrow else 'wide'}"
            self.nodes.append(helper.make_node("Cast", [name], [cast], name=f"{cast}_cast", to=kind))
            self.converted[name, kind] = cast
        return self.converted[name, kind]

    def _restore_output(self, name: str) -> None:
        """Give the last value another name, and cast it to what the port is called."""
        from onnx import helper

        inner = f"{name}_half"
        for node in self.nodes:
            node.output[:] = [inner if output == name else output for output in node.output]
            node.input[:] = [inner if read == name else read for read in node.input]
        self.nodes.append(helper.make_node("Cast", [inner], [name], name=f"{inner}_cast", to=FLOAT))


def _narrowed(value: Any, kind: int) -> Any:
    if kind == HALF:
        return value.astype(np.float16)
    from onnx import helper

    return value.astype(helper.tensor_dtype_to_np_dtype(kind))


def _is_standard(node: Any) -> bool:
    return node.domain in ("", "ai.onnx")
