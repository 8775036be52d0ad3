"""Operators that every TensorRT's parser refuses, found in the ONNX file before a builder is started.

RTX 1.7.1: each was tried and refused. TensorRT 10 and 11: "Supported ONNX Operators" of onnx-tensorrt says so
of all but the sums of ``ScatterElements``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ...runtime.errors import LoweringError
from ...runtime.onnx_nodes import MODULE_KEY
from ...runtime.tensorrt.features import Product

if TYPE_CHECKING:
    import onnx


def _sums(node: onnx.NodeProto) -> bool:
    return any(a.name == "reduction" and a.s not in (b"", b"none") for a in node.attribute)


REFUSED: dict[str, tuple[Callable[[onnx.NodeProto], bool], str, tuple[Product, ...]]] = {
    "MaxPool": (
        lambda node: len([name for name in node.output if name]) > 1,
        "the places of largest values (max_pool with return_indices)",
        ("tensorrt-rtx", "tensorrt"),
    ),
    "Col2Im": (lambda node: True, "overlapped adding (fold)", ("tensorrt-rtx", "tensorrt")),
    "ScatterND": (_sums, "adding at indices (index_add, index_put)", ("tensorrt-rtx", "tensorrt")),
    "ScatterElements": (_sums, "adding at indices (scatter_add)", ("tensorrt-rtx",)),
}
"""Operator -> which of its nodes, what they stand for, and which products refuse them."""


def refuse_unsupported(model: onnx.ModelProto, product: Product, title: str) -> None:
    """Refuse a model with operators that the product's parser does not take.

    Raises:
        LoweringError: names each operator, what it stands for, and its module.
    """
    refused = []
    for node in [*model.graph.node, *(node for function in model.functions for node in function.node)]:
        matches, meaning, products = REFUSED.get(node.op_type, (None, "", ()))
        if matches is not None and product in products and matches(node):
            module = next((p.value for p in node.metadata_props if p.key == MODULE_KEY), "")
            refused.append(f"{meaning} in {f'module {module!r}' if module else 'the root module'}")
    if refused:
        distinct = list(dict.fromkeys(refused))
        more = f" (and {len(distinct) - 5} more)" if len(distinct) > 5 else ""
        raise LoweringError(
            f"{title} has no operator for {'; '.join(distinct[:5])}{more}. Write it with gather, products or "
            "convolutions, or build for another target"
        )
