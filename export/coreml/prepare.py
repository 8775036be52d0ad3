"""What a lowered program needs before coremltools may see it.

Three things, each found by running the converted program against PyTorch: ``einsum`` with an ellipsis
converts to something else without an error, bytes are no type of an array feature, and nodes lose the
module they came from.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch.export import ExportedProgram

from ...calibration.layers import module_of
from ...runtime.errors import LoweringError

aten = torch.ops.aten

_NODE = "fdikp_edge_node"


@dataclass(frozen=True)
class Prepared:
    """A program for the converter.

    ``shape`` is its input's, ``images`` says that it takes and returns images of bytes, as float values
    from 0 to 255. ``modules`` maps a handle, which every operation made from a node carries, to the node's
    module path. ``nodes`` maps names of nodes of this program, after which coremltools names its operations,
    to those of the lowered program: decomposing it numbers some of them anew.
    """

    program: ExportedProgram
    shape: tuple[int, ...]
    images: bool
    modules: dict[int, str]
    nodes: dict[str, str]


def prepare(program: ExportedProgram) -> Prepared:
    """Return a copy of a lowered program that coremltools converts faithfully.

    Raises:
        LoweringError: more than one input or output, or a program of bytes in another form than
            :class:`~fdikp_edge.export.contracts.Deployable` writes.
    """
    signature = program.graph_signature
    counts = len(signature.user_inputs), len(signature.user_outputs)
    if counts != (1, 1):
        raise LoweringError(
            f"an artifact has one image in and one out; this program has {counts[0]} in and {counts[1]} out"
        )
    copied = spell_out(program)
    graph = copied.graph_module.graph
    source = next(node for node in graph.nodes if node.name == copied.graph_signature.user_inputs[0])
    images = source.meta["val"].dtype == torch.uint8
    if images:
        _as_images(copied, source)
    nodes = {node.name: str(node.meta.get("custom", {}).get(_NODE, "")) for node in graph.nodes}
    modules: dict[int, str] = {}
    for handle, node in enumerate(graph.nodes, 1):
        if node.op == "call_function":
            node.meta["debug_handle"] = handle
            modules[handle] = module_of(node)
    return Prepared(copied, tuple(source.meta["val"].shape), images, modules, nodes)


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


def _as_images(program: ExportedProgram, source: fx.Node) -> None:
    """Make bytes [1, H, W, 3] in and out floats [1, 3, H, W] from 0 to 255, which is what Core ML hands
    over."""
    graph = program.graph_module.graph
    (output,) = (node for node in graph.nodes if node.op == "output")
    readers = list(source.users)
    last: Any = output.args[0][-1]
    rounded: Any = last.args[0].args[0] if last.args and isinstance(last.args[0], fx.Node) else None
    known = (
        [str(node.target) for node in (*readers, last)] == ["aten.permute.default"] * 2
        and isinstance(rounded, fx.Node)
        and str(last.args[0].target) in ("aten.to.dtype", "aten._to_copy.default")
        and rounded.meta["val"].dtype.is_floating_point
    )
    if not known:
        raise LoweringError("a program of bytes must start and end with the conversions of `Deployable`")
    (turned,) = readers
    turned.replace_all_uses_with(source)
    fake = turned.meta["val"]
    with fake.fake_mode:
        source.meta["val"] = torch.empty(fake.shape, dtype=torch.float32)
    graph.erase_node(turned)
    output.update_arg(0, (*output.args[0][:-1], rounded))
    spec = program.graph_signature.output_specs[-1]
    spec.arg.name = rounded.name
    graph.eliminate_dead_code()
    program.graph_module.recompile()
