"""The operators of the domain ``fdikp_edge`` in an ONNX file: nodes, and functions that define them.

A runtime with a kernel named ``fdikp_edge::rfft2`` or ``irfft2`` uses it; any other runs the function, made
of matrix products (the matrices are inputs of the node, see :mod:`..spectral.strategies.custom`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx
    from torch.export import ExportedProgram


def translations(program: ExportedProgram) -> dict[Any, Any]:
    """Return what torch's exporter makes of our operators; empty for a program that has none."""
    import torch

    from ..spectral.strategies.custom import NAMESPACE

    if not any(str(node.target).startswith(f"{NAMESPACE}.") for node in program.graph.nodes):
        return {}
    from . import definitions as definitions

    definitions.register()
    operators = getattr(torch.ops, NAMESPACE)
    return {
        operators.rfft2.default: definitions.emit_rfft2,
        operators.irfft2.default: definitions.emit_irfft2,
    }


def define(model: onnx.ModelProto) -> None:
    """Add the definition of each of our operators that a model uses."""
    from ..spectral.strategies.custom import NAMESPACE

    used = sorted({node.op_type for node in model.graph.node if node.domain == NAMESPACE})
    if used:
        from . import definitions as definitions

        model.functions.extend(definitions.BODIES[name] for name in used)


def inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with each function's body in place of its node, for runtimes without functions."""
    if not model.functions:
        return model
    import onnx.inliner

    flat: onnx.ModelProto = onnx.inliner.inline_local_functions(model)
    del flat.functions[:]
    kept = [entry for entry in flat.opset_import if entry.domain in ("", "ai.onnx")]
    del flat.opset_import[:]
    flat.opset_import.extend(kept)
    return flat
