"""What a lowered program needs before coremltools may see it.

Three things, each found by running the converted program against PyTorch: ``einsum`` with an ellipsis
converts to something else without an error, bytes are no type of an array feature, and nodes lose the
module they came from.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram
from torch.export.graph_signature import OutputKind

from ...calibration.layers import module_of
from ...runtime.errors import LoweringError
from ..spectral.lower import end_names

aten = torch.ops.aten

_NODE = "fdikp_edge_node"
_BYTES = "a program of bytes must start and end with the conversions of `Deployable`"


@dataclass(frozen=True)
class End:
    """An input or output for the converter: an array, or an image of bytes, which is floats from 0 to 255."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    is_image: bool


@dataclass(frozen=True)
class Prepared:
    """A program for the converter.

    ``modules`` maps a handle, which every operation made from a node carries, to the node's
    module path. ``nodes`` maps names of nodes of this program, after which coremltools names its operations,
    to those of the lowered program: decomposing it numbers some of them anew.
    """

    program: ExportedProgram
    inputs: tuple[End, ...]
    outputs: tuple[End, ...]
    modules: dict[int, str]
    nodes: dict[str, str]


def prepare(
    program: ExportedProgram, inputs: Sequence[str] | None = None, outputs: Sequence[str] | None = None
) -> Prepared:
    """Return a copy of a lowered program that coremltools converts faithfully.

    ``inputs`` and ``outputs`` name them; after the program's own when ``None``.

    Raises:
        LoweringError: an input or output of a type that Core ML has not, or pictures of bytes in another form
            than :class:`~fdikp_edge.export.contracts.Deployable` writes.
    """
    own = end_names(program)
    copied = spell_out(program)
    graph = copied.graph_module.graph
    named = {node.name: node for node in graph.nodes}
    taken = [
        _taken(named[str(node)], name)
        for node, name in zip(copied.graph_signature.user_inputs, inputs or own[0], strict=True)
    ]
    given = [_given(copied, index, name) for index, name in enumerate(outputs or own[1])]
    graph.eliminate_dead_code()
    copied.graph_module.recompile()
    nodes = {node.name: str(node.meta.get("custom", {}).get(_NODE, "")) for node in graph.nodes}
    modules: dict[int, str] = {}
    for handle, node in enumerate(graph.nodes, 1):
        if node.op == "call_function":
            node.meta["debug_handle"] = handle
            modules[handle] = module_of(node)
    return Prepared(copied, tuple(taken), tuple(given), modules, nodes)


def spell_out(program: ExportedProgram) -> ExportedProgram:
    """Return a copy of ``program`` whose ``einsum`` equations name every axis.

    coremltools 9.0 converts ``...bi,bio->...bo`` to a program that computes something else, without an error.
    """
    before = {node: node.meta.get("custom") for node in program.graph.nodes}
    try:
        for node, custom in before.items():
            node.meta["custom"] = {**(custom or {}), _NODE: node.name}  # a copy carries these along
        copied: ExportedProgram = program.run_decompositions({})
    finally:
        for node, custom in before.items():
            node.meta.pop("custom")
            if custom is not None:
                node.meta["custom"] = custom
    graph = copied.graph_module.graph
    for node in graph.nodes:
        if str(node.target) == "aten.einsum.default" and "..." in node.args[0]:
            ranks = [operand.meta["val"].dim() for operand in node.args[1]]
            node.update_arg(0, named_axes(node.args[0], ranks))
    copied.graph_module.recompile()
    return copied


def named_axes(equation: str, ranks: list[int]) -> str:
    """Return an einsum equation with letters in place of the ellipsis, for operands of these ranks."""
    plain = equation.replace(" ", "")
    terms, _, result = plain.partition("->")
    free = [letter for letter in string.ascii_letters if letter not in plain]
    longest = max(
        rank - len(term.replace("...", ""))
        for term, rank in zip(terms.split(","), ranks, strict=True)
        if "..." in term
    )
    letters = "".join(free[:longest])
    spelled = []
    for term, rank in zip(terms.split(","), ranks, strict=True):
        missing = rank - len(term.replace("...", ""))
        spelled.append(term.replace("...", letters[longest - missing :]))  # aligned at the right
    if "->" not in plain:
        once = sorted(c for c in set(terms) - set(",.") if terms.count(c) == 1)
        result = "..." + "".join(once)
    return f"{','.join(spelled)}->{result.replace('...', letters)}"


def _taken(source: fx.Node, name: str) -> End:
    """Return an input; bytes [1, H, W, 3] become floats [1, 3, H, W] from 0 to 255, which is what Core ML
    hands over."""
    value = source.meta["val"]
    if value.dtype != torch.uint8:
        return _end(name, value)
    readers = list(source.users)
    if [str(node.target) for node in readers] != ["aten.permute.default"]:
        raise LoweringError(f"{name}: {_BYTES}")
    (turned,) = readers
    turned.replace_all_uses_with(source)
    fake = turned.meta["val"]
    with fake.fake_mode:
        source.meta["val"] = torch.empty(fake.shape, dtype=torch.float32)
    source.graph.erase_node(turned)
    return End(name, tuple(fake.shape), "float32", is_image=True)


def _given(program: ExportedProgram, index: int, name: str) -> End:
    """Return an output; of bytes, the floats from 0 to 255 that were rounded to them take their place."""
    graph = program.graph_module.graph
    (output,) = (node for node in graph.nodes if node.op == "output")
    specs = program.graph_signature.output_specs
    place = [i for i, spec in enumerate(specs) if spec.kind is OutputKind.USER_OUTPUT][index]
    last: Any = output.args[0][place]
    value = last.meta["val"]
    if value.dtype != torch.uint8:
        return _end(name, value)
    rounded: Any = last.args[0].args[0] if last.args and isinstance(last.args[0], fx.Node) else None
    known = (
        str(last.target) == "aten.permute.default"
        and isinstance(rounded, fx.Node)
        and str(last.args[0].target) in ("aten.to.dtype", "aten._to_copy.default")
        and rounded.meta["val"].dtype.is_floating_point
    )
    if not known:
        raise LoweringError(f"{name}: {_BYTES}")
    output.update_arg(0, (*output.args[0][:place], rounded, *output.args[0][place + 1 :]))
    specs[place].arg.name = rounded.name
    return End(name, tuple(rounded.meta["val"].shape), "float32", is_image=True)


def _end(name: str, value: Any) -> End:
    dtype = str(value.dtype).removeprefix("torch.")
    if dtype not in ("float32", "int32"):
        raise LoweringError(f"{name}: Core ML takes and returns float32 and int32 arrays, not {dtype}")
    return End(name, tuple(value.shape), dtype, is_image=False)
