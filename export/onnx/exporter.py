"""torch's ONNX exporter on a lowered program, once for all precisions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ...runtime.errors import LoweringError
from ...runtime.sessions.quiet import quiet
from . import checks
from .functions import define, translations

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir
    from torch.export import ExportedProgram

OPSET = 18
"""What torch's own operator library is written in, so that nothing passes through a version converter."""

Ends = tuple[tuple[str, ...], tuple[str, ...]]
"""Names of inputs and of outputs."""

LOGGERS = ("torch.onnx", "onnxscript", "onnx_ir")
_EXPORTED: WeakKeyDictionary[ExportedProgram, dict[Ends, onnx.ModelProto]] = WeakKeyDictionary()


def exported(program: ExportedProgram, names: Ends) -> onnx.ModelProto:
    """Return what the exporter makes of a program, once for all precisions.

    Raises:
        LoweringError: the exporter failed.
    """
    done = _EXPORTED.setdefault(program, {})
    if names not in done:
        done[names] = _export(program, names)
    return done[names]


def _export(program: ExportedProgram, names: Ends) -> onnx.ModelProto:
    import torch

    with quiet(*LOGGERS), _named_nodes(program):
        try:
            converted = torch.onnx.export(
                program,
                (),
                None,
                dynamo=True,
                opset_version=OPSET,
                input_names=list(names[0]),
                output_names=list(names[1]),
                optimize=False,
                verbose=False,
                custom_translation_table=translations(program) or None,
            )
        except Exception as error:  # the exporter's own errors share no public base class
            lines = str(error).strip().splitlines()
            raise LoweringError(
                f"torch.onnx could not convert the lowered program: {type(error).__name__}: "
                f"{lines[0] if lines else 'no message'}"
            ) from error
    if converted is None:
        raise LoweringError("torch.onnx returned nothing for the lowered program")
    with quiet(*LOGGERS):
        _fold(converted.model)
    model = converted.model_proto
    define(model)
    return model


@contextlib.contextmanager
def _named_nodes(program: ExportedProgram) -> Iterator[None]:
    """Hand the exporter each node's name as its innermost module, the one label that it carries through."""
    before = {node: node.meta.get("nn_module_stack") for node in program.graph.nodes}
    for node, stack in before.items():
        if node.op == "call_function":
            scope = f"{checks.NODE_SCOPE}{node.name}"
            root = {"": ("", "torch.nn.Module")}
            node.meta["nn_module_stack"] = {**(stack or root), scope: (scope, "torch.nn.Module")}
    try:
        yield
    finally:
        for node, stack in before.items():
            if stack is None:
                node.meta.pop("nn_module_stack", None)
            else:
                node.meta["nn_module_stack"] = stack


def _fold(model: ir.Model) -> None:
    """Fold constants and drop what nobody reads.

    The exporter's own ``optimize=True`` also matches some fifty rewrite rules against every node, which takes
    minutes on a graph of a few thousand and changes nothing that onnxsim does not.
    """
    import onnx_ir.passes.common
    from onnxscript import optimizer

    common: Any = onnx_ir.passes.common  # its classes lack annotations
    optimizer.fold_constants(model, onnx_shape_inference=True)
    steps: Any = (
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedFunctionsPass(),
        common.RemoveUnusedOpsetsPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.DeduplicateInitializersPass(),
        common.NameFixPass(),
    )
    for step in steps:
        step(model)
