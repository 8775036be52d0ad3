"""The nodes in the place of one ``DFT``, ``STFT`` or window node.

A node that cannot be rewritten is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .constants import WINDOWS, Scope
from .dft import rewrite_dft
from .maker import Maker, Store, UnknownSizeError, Written, label, refused
from .stft import rewrite_stft

if TYPE_CHECKING:
    import onnx

FLOAT = 1  # TensorProto.FLOAT
TRANSFORMS = {"DFT": rewrite_dft, "STFT": rewrite_stft}
"""Operator -> what writes its nodes."""


def is_ours(node: onnx.NodeProto) -> bool:
    """Whether a node is of an operator that is rewritten here."""
    return node.domain in ("", "ai.onnx") and node.op_type in (*TRANSFORMS, *WINDOWS)


def rewrite(node: onnx.NodeProto, scope: Scope, store: Store, fresh: Callable[[str], str]) -> Written | None:
    """Return the nodes in the place of ``node``; ``None`` leaves it: a window whose size is not known.

    Raises:
        LoweringError: it cannot be rewritten; names the node and the reason.
    """
    if node.op_type in WINDOWS:
        return _window(node, scope)
    source = scope.type_of(node.input[0])
    if source.kind not in (0, FLOAT):
        from onnx import TensorProto

        kind = TensorProto.DataType.Name(source.kind).lower()
        raise refused(node, f"it computes in {kind}, not float32; export the network in float32")
    if source.kind == 0 or source.shape is None:
        raise UnknownSizeError(f"{label(node)}: type and rank of {node.input[0]!r:.80} are not known")
    return TRANSFORMS[node.op_type](Maker(node, scope, store, fresh), source.shape)


def _window(node: onnx.NodeProto, scope: Scope) -> Written | None:
    from onnx import helper, numpy_helper

    value = scope.value(node.output[0])
    if value is None:
        return None
    tensor = numpy_helper.from_array(value, node.output[0])
    return Written([helper.make_node("Constant", [], [node.output[0]], node.name, value=tensor)])
