"""What is left to put right in a program once it is written: names of modules, aliases, tensors unread."""

from __future__ import annotations

from typing import Any

from torch import fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind

from ..graph import MODULE


def restore_modules(program: ExportedProgram) -> None:
    """Give each node the path of the original module it came from, where converters look for it."""
    for node in program.graph.nodes:
        path = node.meta.get("custom", {}).get(MODULE)
        if path:
            node.meta["nn_module_stack"] = {"": ("", "torch.nn.Module"), path: (path, "torch.nn.Module")}


def drop_aliases(program: ExportedProgram) -> None:
    """Nodes that only name a value again, which some converters do not know."""
    for node in list(program.graph.nodes):
        if str(node.target) in ("aten.alias.default", "aten.detach.default", "aten.lift_fresh_copy.default"):
            source = node.args[0]
            returned = any(user.op == "output" for user in node.users)
            if isinstance(source, fx.Node) and not (returned and source.op == "placeholder"):
                rename_output(program, node.name, source.name)
                node.replace_all_uses_with(source)
                program.graph.erase_node(node)


def without_unused(program: ExportedProgram) -> ExportedProgram:
    """Drop stored tensors that nothing reads any more (a kernel whose transform was folded)."""
    graph, specs = program.graph_module.graph, program.graph_signature.input_specs
    graph.eliminate_dead_code()
    kept, gone = [], set()
    for node, spec in zip([n for n in graph.nodes if n.op == "placeholder"], list(specs), strict=True):
        if spec.kind is InputKind.USER_INPUT or node.users:
            kept.append(spec)
        else:
            gone.add(spec.target)
            graph.erase_node(node)
    specs[:] = kept
    for name in gone - {spec.target for spec in kept} - {None}:
        program.state_dict.pop(name, None)
        program.constants.pop(name, None)
    program.graph_module.recompile()
    check: Any = program.validate  # torch leaves it without types
    check()
    return program


def rename_output(program: ExportedProgram, old: str, new: str) -> None:
    """Say in the signature that a result is what node ``new`` makes, if it was what ``old`` makes."""
    for spec in program.graph_signature.output_specs:
        if getattr(spec.arg, "name", None) == old:
            spec.arg.name = new
