"""Converts a program to the bytes of a ``.tflite`` file."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from .marks import mark
from .rewrites import rewrite


def convert(path: Path, request: dict[str, Any], marked: Collection[int]) -> bytes:
    """Return the bytes of the converted program, in floats.

    Args:
        path: the program.
        request: ``wide`` keeps integers of 64 bits, which inputs or outputs have; ``layers`` are those that
            shall compute in 8 bits.
        marked: places of layers whose bias is replaced by their mark (:mod:`.marks`).
    """
    import torch

    program = torch.export.load(path)
    module: Any = program.module()
    _put_marks(module, request["layers"], marked)
    rewrite(module)

    class Flat(torch.nn.Module):
        """The program, with its results as a tuple."""

        def __init__(self) -> None:
            super().__init__()
            self.program = module

        def forward(self, *arguments: Any) -> Any:
            return tuple(torch.utils._pytree.tree_leaves(self.program(*arguments)))

    import litert_torch

    flat = Flat()
    flat.training = False
    converted = litert_torch.convert(flat, program.example_inputs[0], enable_x64=request["wide"])
    return bytes(converted.model_content())


def _put_marks(module: Any, layers: list[dict[str, Any]], marked: Collection[int]) -> None:
    import torch

    nodes = {node.name: node for node in module.graph.nodes}
    for place in marked:
        node = nodes[layers[place]["node"]]
        name = f"fdikp_edge_mark_{place}"
        module.register_buffer(name, torch.full((layers[place]["channels"],), mark(place)))
        with module.graph.inserting_before(node):
            bias = module.graph.get_attr(name)
        at = layers[place]["bias"]
        node.args = (*node.args[:at], bias, *node.args[at + 1 :])
    module.graph.lint()
    module.recompile()
