"""The layers of a program that could compute in 8 bits, and why some must not.

A program arrives as a plain ``ExportedProgram``; which nodes to leave alone, and why, is for the caller to
say (the lowering knows which of them are transforms, and what is computed on their spectra).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from .layer_kinds import LEFT_PRODUCT, OPERATORS, PRODUCT, PRODUCTS, TRANSPOSED, LayerKind

LEAST_WORK = 100_000
"""Multiply-adds under which 8 bits save no time that could be measured."""
RUN_TIME = "its weights are computed at run time"
NO_FASTER = "a matrix product, no faster in int8 here: only its weights are stored in int8"
NO_FASTER_TRANSPOSED = "a transposed convolution, no faster in int8 here: only its weights are stored in int8"
NOT_MEASURED = "a {kind}, which was not measured to be faster in int8 here"
ONLY_FP16 = "its calibration table was made for fp16 alone"
LITTLE_WORK = "too little work for int8 to save time"
STORED_ONLY = (NO_FASTER, NO_FASTER_TRANSPOSED)
"""Reasons of layers whose weights are stored in 8 bits although they compute in floats."""


@dataclass(frozen=True)
class Layer:
    """A convolution or product with weights.

    ``node`` and ``input`` are names of nodes of the program: the layer itself and the tensor it reads;
    ``weight`` is the name of the node that holds the weights.
    ``module`` is the path of the module of the original network. ``reason`` says why it stays in floats;
    empty if it may be quantised. ``macs`` counts multiply-adds. ``weights_only``: its weights are stored in 8
    bits although it computes in floats, a quarter of the bytes at no cost that could be measured (weights
    alone leave 60 dB and more, activations 40 to 50).
    """

    node: str
    module: str
    input: str
    weight: str
    macs: int
    reason: str = ""
    weights_only: bool = False

    @property
    def label(self) -> str:
        """Module and node, which tells apart the calls of a module that is called at several scales."""
        return f"{self.module or 'root'} ({self.node})"


def find_layers(
    program: ExportedProgram, leave_alone: Mapping[str, str] | None = None, *, least_work: int = LEAST_WORK
) -> list[Layer]:
    """Return every convolution and product with weights in the order of the program.

    A product by ``matmul`` is a layer if one operand is a stored matrix, and not for a reason in
    ``leave_alone`` a transform or a constant of the lowering.

    Args:
        program: with static shapes.
        leave_alone: name of a node -> why it must stay in floats.
        least_work: layers of fewer multiply-adds stay in floats too.
    """
    stored = stored_tensors(program)
    layers = []
    for node in program.graph.nodes:
        kind = kind_of(node, stored)
        if kind is None:
            continue
        source, weight = node.args[kind.data], node.args[kind.weight]
        macs = _macs(node, kind, source, weight)
        reason = (leave_alone or {}).get(node.name, "")
        if str(node.target) in PRODUCTS and reason and reason not in STORED_ONLY:
            continue
        if reason:
            pass
        elif constant_behind(weight, stored) is None:
            reason = RUN_TIME
        elif macs < least_work:
            reason = LITTLE_WORK
        weights_only = reason in STORED_ONLY
        layers.append(Layer(node.name, module_of(node), source.name, weight.name, macs, reason, weights_only))
    return layers


def kind_of(node: fx.Node, stored: Mapping[str, Tensor] | None = None) -> LayerKind | None:
    """Return what kind of layer a node is; ``None`` if it is none.

    Without ``stored`` (:func:`stored_tensors`), a product by ``matmul`` is none: its operands do not say
    which of them holds weights.
    """
    if node.op != "call_function":
        return None
    operator = str(node.target)
    if operator in PRODUCTS and stored is not None:
        left, right = (_is_matrix(operand, stored) for operand in node.args[:2])
        if left == right:
            return None
        return LayerKind(PRODUCT, channels=1) if right else LayerKind(LEFT_PRODUCT, data=1, weight=0)
    return OPERATORS.get(operator)


def _is_matrix(node: Any, stored: Mapping[str, Tensor]) -> bool:
    constant = constant_behind(node, stored)
    return constant is not None and constant.dim() == 2


def stored_tensors(program: ExportedProgram) -> dict[str, Tensor]:
    """Return name of placeholder -> the tensor it stands for, for all but the user's inputs."""
    tensors: dict[str, Tensor] = {}
    nodes = [node for node in program.graph.nodes if node.op == "placeholder"]
    for node, spec in zip(nodes, program.graph_signature.input_specs, strict=True):
        if spec.kind is not InputKind.USER_INPUT and spec.target is not None:
            value = program.state_dict.get(spec.target, program.constants.get(spec.target))
            if isinstance(value, Tensor):
                tensors[node.name] = value
    return tensors


def constant_behind(node: Any, stored: Mapping[str, Tensor]) -> Tensor | None:
    """Return the value of a node that follows from stored tensors alone; ``None`` if it depends on an input.

    Only short chains are followed (a slice of a weight, a transpose), as exporters leave them.
    """
    value = _constant(node, stored, 6)
    return value if isinstance(value, Tensor) else None


def _constant(node: Any, stored: Mapping[str, Tensor], depth: int) -> Any:
    if not isinstance(node, fx.Node):
        return node
    if node.op == "placeholder":
        return stored.get(node.name)
    if depth == 0 or node.op != "call_function" or not node.all_input_nodes:
        return None
    values = {source: _constant(source, stored, depth - 1) for source in node.all_input_nodes}
    if any(value is None for value in values.values()):
        return None
    args, kwargs = fx.map_arg((node.args, node.kwargs), lambda n: values[n])
    target: Any = node.target
    return target(*args, **kwargs)


def module_of(node: fx.Node) -> str:
    """Return the dotted path of the module a node came from; empty at the root."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values()]
    return paths[-1] if paths else ""


def _macs(node: fx.Node, kind: LayerKind, source: fx.Node, weight: fx.Node) -> int:
    out, read, kernel = (n.meta["val"].shape for n in (node, source, weight))
    if kind.name == TRANSPOSED:  # each value of the input is multiplied with a kernel for each output channel
        return int(math.prod(read)) * int(math.prod(kernel[1:]))
    others = [size for axis, size in enumerate(kernel) if axis != kind.channels]
    return int(math.prod(out)) * int(math.prod(others))
