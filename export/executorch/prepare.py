"""What a lowered program is rewritten to before ExecuTorch sees it, so that XNNPACK takes all of it.

ExecuTorch hands a delegate the operators that its partitioner knows, and runs the others one by one in
portable kernels, most of which are plain loops. Between two parts of a delegate, values are copied. So a
single ``expand_copy`` costs more than its own time. The rules here replace operators that XNNPACK does not
take (ExecuTorch 1.5: expansions, splits, selections, sums, products with a matrix on the left, softmax over
another axis than the last) by ones that it takes. The values are the same up to the order of sums.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from ..aten import base_name
from ..spectral.passes.tidy import without_unused
from .editor import Editor, copied
from .permutes import move_permutes
from .rules import RULES

LARGEST_FOLDED = 4 * 2**20
"""Values of a constant that is computed here instead of at run time."""


def prepare(program: ExportedProgram) -> ExportedProgram:
    """Return a copy of a lowered program that XNNPACK takes as a whole, or in as few parts as can be.

    Raises:
        LoweringError: a rule made a value of another shape, which is a fault of this toolkit.
    """
    result = copied(program)
    editor = Editor(result)
    for node in list(editor.graph.nodes):
        if node.op != "call_function" or not node.users:
            continue
        folded = _folded(editor, node)
        rule = None if folded is not None else RULES.get(base_name(node.target))
        new = folded if rule is None else rule(editor, node)
        if new is not None:
            editor.replace(node, new)
    move_permutes(editor)
    editor.graph.lint()
    result.graph_module.recompile()
    return without_unused(result)


def _folded(editor: Editor, node: fx.Node) -> fx.Node | None:
    """Return a stored tensor in place of what is computed from stored tensors alone."""
    value, name = node.meta.get("val"), base_name(node.target)
    if not isinstance(value, Tensor) or name in ("", "expand"):  # a delegate dequantises weights itself
        return None
    if value.numel() > LARGEST_FOLDED and name != "to":
        return None
    known = {source: editor.stored(source) for source in node.all_input_nodes}
    if any(tensor is None for tensor in known.values()) or any(user.op == "output" for user in node.users):
        return None
    args, kwargs = fx.map_arg((node.args, node.kwargs), lambda n: known[n])
    target: Any = node.target
    with torch.no_grad():
        return editor.store(target(*args, **kwargs).clone(memory_format=torch.contiguous_format))
