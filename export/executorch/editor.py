"""A lowered program that is being rewritten for a runtime: its nodes, and the tensors it stores."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, InputSpec, TensorArgument

from ...runtime.errors import LoweringError
from ..spectral.passes.tidy import rename_output

aten = torch.ops.aten


def copied(program: ExportedProgram) -> ExportedProgram:
    """Return a program of its own graph and tables; the stored tensors are shared."""
    source = program.graph_module
    return ExportedProgram(
        root=source,
        graph=copy.deepcopy(source.graph),
        graph_signature=copy.deepcopy(program.graph_signature),
        state_dict=dict(program.state_dict),
        range_constraints=dict(program.range_constraints),
        module_call_graph=list(program.module_call_graph),
        example_inputs=program.example_inputs,
        constants=dict(program.constants),
    )


class Editor:
    """A program that is being rewritten: makes nodes and stores constants.

    ``like`` is the node that is being replaced: new nodes get its place in the network.
    """

    def __init__(self, program: ExportedProgram) -> None:
        """Take the program, which is changed in place."""
        self.program = program
        self.graph: fx.Graph = program.graph_module.graph
        self._count = 0
        specs = program.graph_signature.input_specs
        self._targets = {
            spec.arg.name: spec.target for spec in specs if spec.kind is not InputKind.USER_INPUT
        }
        values = (node.meta.get("val") for node in self.graph.nodes)
        first: Any = next(value for value in values if isinstance(value, Tensor))
        self._fake_mode = first.fake_mode

    def call(self, like: fx.Node, target: Any, *args: Any) -> fx.Node:
        """Add a call before ``like``."""
        with self.graph.inserting_before(like), self._fake_mode:
            node = self.graph.call_function(target, args)
            node.meta = {key: value for key, value in like.meta.items() if key != "val"}
            node.meta["val"] = target(*fx.map_arg(args, lambda n: n.meta["val"]))
        return node

    def reshape(self, like: fx.Node, source: fx.Node, shape: Sequence[int]) -> fx.Node:
        """Add a reshape, or return ``source`` where it has the shape."""
        if shape_of(source) == list(shape):
            return source
        return self.call(like, aten.reshape.default, source, list(shape))

    def cut(self, like: fx.Node, source: fx.Node, dim: int, start: int, length: int) -> fx.Node:
        """Add a slice along one axis, or return ``source`` where it is all of it."""
        if length == shape_of(source)[dim]:
            return source
        value = self.stored(source)
        if value is not None:
            return self.store(value.narrow(dim, start, length))
        return self.call(like, aten.slice.Tensor, source, dim, start, start + length)

    def permute(self, like: fx.Node, source: fx.Node, order: Sequence[int]) -> fx.Node:
        """Add a permute, or return ``source`` where nothing moves."""
        if list(order) == sorted(order):
            return source
        value = self.stored(source)
        if value is not None:
            return self.store(value.permute(*order).contiguous())
        return self.call(like, aten.permute.default, source, list(order))

    def stored(self, node: Any) -> Tensor | None:
        """Return the tensor that a node stores, ``None`` if it is computed."""
        key = self._targets.get(node.name) if isinstance(node, fx.Node) and node.op == "placeholder" else None
        if key is None:
            return None
        value = self.program.state_dict.get(key, self.program.constants.get(key))
        return value.detach() if isinstance(value, Tensor) else None

    def store(self, value: Tensor) -> fx.Node:
        """Add a stored tensor."""
        name = f"prepared_{self._count}"
        self._count += 1
        first = next(iter(self.graph.nodes))
        with self.graph.inserting_before(first):
            node = self.graph.placeholder(f"b_{name}")
        with self._fake_mode:
            node.meta["val"] = torch.empty(value.shape, dtype=value.dtype)
        spec = InputSpec(InputKind.BUFFER, TensorArgument(node.name), name, persistent=True)
        self.program.graph_signature.input_specs.insert(0, spec)
        # A copy: of a part of a larger tensor, ExecuTorch writes the bytes from the beginning of the whole.
        self.program.state_dict[name] = value.clone(memory_format=torch.contiguous_format)
        self._targets[node.name] = name
        return node

    def replace(self, old: fx.Node, new: fx.Node) -> None:
        """Let every reader of ``old`` read ``new``."""
        if new is old:
            return
        if shape_of(old) != shape_of(new) or old.meta["val"].dtype != new.meta["val"].dtype:
            raise LoweringError(
                f"executorch: {old.target} became {new.meta['val'].dtype}{shape_of(new)} where "
                f"{old.meta['val'].dtype}{shape_of(old)} was: please report this network"
            )
        returned = any(user.op == "output" for user in old.users)
        if returned and new.op == "placeholder":
            return
        rename_output(self.program, old.name, new.name)
        old.replace_all_uses_with(new)


def shape_of(node: fx.Node) -> list[int]:
    """Return the shape of the one tensor that a node makes."""
    return [int(side) for side in node.meta["val"].shape]
