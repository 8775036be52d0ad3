"""Traces a network into a graph of ATen operators with static shapes, or says which line prevents it."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.export._trace import _export as export_below
from torch.utils import _pytree as pytree

from ...runtime.errors import BadInputError, DynamicShapeError, FdikpEdgeError, LoweringError
from .graph import where
from .intercept import DerivativeError, users_frame
from .specialise import specialised

_DATA_DEPENDENT = ("DataDependent", "GuardOn", "UserError", "data-dependent", "dynamic", "unbacked")
_UNKNOWN_TYPE = re.compile(r"Found <class '(?:.*\.)?([^.']+)'> in output, which is not a known type")
_WAY_OUT = (
    "Edge runtimes take a fixed graph: compute the value from buffers or parameters, which are constants "
    "here, pass it to __init__, or use torch.where"
)


def check_inputs(inputs: Any) -> None:
    """Refuse what is not a tuple of tensors.

    Raises:
        BadInputError: says what is expected.
    """
    if not isinstance(inputs, tuple) or not all(isinstance(value, Tensor) for value in inputs):
        raise BadInputError("example_inputs must be a tuple of tensors, one per argument of forward")


def trace(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[ExportedProgram, tuple[str, ...]]:
    """(the functional graph of ``module``, what it read in Python of its own constants).

    Raises:
        DynamicShapeError: shapes or branches depend on the inputs; names the line.
        LoweringError: the network cannot be traced for another reason; names the line.
    """
    check_inputs(inputs)
    try:
        functional, baked = _export(module, inputs, whole=True)
    except DerivativeError:
        functional, baked = _export(module, inputs, whole=False)
    _check_static(functional.graph_module)
    return functional, baked


def _export(
    module: nn.Module, inputs: tuple[Tensor, ...], *, whole: bool
) -> tuple[ExportedProgram, tuple[str, ...]]:
    """The functional graph and the constants read.

    ``whole``: every operator stays one node, those of ``torch.fft`` included. Otherwise they are taken apart
    first, which the derivatives of ``torch.func`` need.

    Raises:
        DerivativeError: such a derivative, while operators are to stay whole.
        LoweringError: anything else that prevents the trace.
    """
    try:
        with torch.no_grad(), specialised(module, derivatives=not whole) as seen, _quiet_on_error():
            if whole:
                exported = torch.export.export(module, inputs, strict=False)
            else:  # no public function traces below torch.func
                exported = export_below(module, inputs, strict=False, pre_dispatch=False)
            _drop_reads(exported.graph_module)
            # With an empty table: functional form, and every operator, fft included, stays whole.
            functional: ExportedProgram = exported.run_decompositions({})
    except FdikpEdgeError:
        raise
    except Exception as error:
        if seen.has_derivatives:
            raise DerivativeError from None
        raise _typed(error, getattr(module, "shown_name", type(module).__name__)) from error
    return functional, tuple(seen.baked)


@contextlib.contextmanager
def _quiet_on_error() -> Iterator[None]:
    """Pass on what is printed while tracing, but not the dump of a graph that torch prints when it fails."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), quiet_fake_tensors():
        yield
    sys.stdout.write(out.getvalue())
    sys.stderr.write(err.getvalue())


@contextlib.contextmanager
def quiet_fake_tensors() -> Iterator[None]:
    """Keep torch from logging the traceback of each operator that does not take the shapes it is given."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


def _drop_reads(graph_module: fx.GraphModule) -> None:
    """Reads of constants leave nodes that nothing uses: the number stands in the code that follows."""
    for node in reversed(list(graph_module.graph.nodes)):
        if str(node.target) in ("aten.item.default", "aten._local_scalar_dense.default") and not node.users:
            graph_module.graph.erase_node(node)


def _typed(error: Exception, name: str) -> LoweringError:
    message = str(error).strip().splitlines()
    first = message[0] if message else type(error).__name__
    kind = type(error).__name__
    at = ""
    frame = _frame_of(error)
    if frame is not None:
        at = f" at {Path(frame.filename).name}:{frame.lineno} ({(frame.line or '').strip()[:80]})"
    if any(word in kind + first for word in _DATA_DEPENDENT):
        return DynamicShapeError(
            f"torch.export cannot trace {name}{at}: a shape or a branch depends on the inputs: "
            f"{first[:160]} ({kind}). {_WAY_OUT}"
        )
    if unknown := _UNKNOWN_TYPE.search(first):
        return LoweringError(
            f"{name} returns a {unknown[1]}, which torch.export cannot take apart: return tensors, or "
            "tuples, lists, dictionaries or named tuples of them, or call torch.export.register_dataclass"
        )
    return LoweringError(f"torch.export cannot trace {name}{at}: {first[:300]} ({kind})")


def _frame_of(error: BaseException | None) -> traceback.FrameSummary | None:
    """The user's line that an error came from, followed through its causes."""
    while error is not None:
        frame = users_frame(traceback.extract_tb(error.__traceback__))
        if frame is not None and "torch.export" not in (frame.line or ""):
            return frame
        error = error.__cause__ or error.__context__
    return None


def _check_static(graph_module: fx.GraphModule) -> None:
    for node in graph_module.graph.nodes:
        if node.op == "get_attr" or (
            node.op == "call_function" and isinstance(node.target, torch._ops.HigherOrderOperator)
        ):
            raise DynamicShapeError(
                f"{node.target} in {where(node)} is control flow that depends on data; edge runtimes take a "
                "fixed graph: compute both branches, or export one module per branch"
            )
        for value in pytree.tree_leaves(node.meta.get("val")):
            if isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool):
                raise DynamicShapeError(f"{node.target} in {where(node)} makes a size that depends on data")
            if isinstance(value, Tensor) and any(not isinstance(size, int) for size in value.shape):
                raise DynamicShapeError(
                    f"{node.target} in {where(node)} has the symbolic shape {tuple(value.shape)}; "
                    "export with fixed sizes"
                )
