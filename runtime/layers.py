"""Times of single layers as a runtime tells them, joined to modules of the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LAYOUT = "(layout change)"
UNKNOWN = "(unknown)"
_MADE_BY_RUNTIME = ("ReorderInput", "ReorderOutput", "Transpose", "Cast", "Memcpy")
_NODE_OF_OUTPUT = "node_"  # how the exporter names a node after its output


@dataclass(frozen=True)
class Layer:
    """Mean milliseconds of one layer in a run; ``module`` is a path such as ``ffb1.conv``, or in brackets."""

    name: str
    operator: str
    module: str
    ms: float


def module_of(name: str, operator: str, modules: Mapping[str, str]) -> str:
    """Return the module that a runtime's layer belongs to, by the name it made up for it.

    A name is a node's, that of its output, or begins with either: runtimes append what they did.
    """
    name = name.removeprefix("fused ")
    if name in modules:
        return modules[name]
    if operator in _MADE_BY_RUNTIME:
        return LAYOUT
    head = f"{name.partition('/')[0]}_"  # node_slice_4/GatherSliceToSplitFusion
    while head:  # conv2d_7_nchwc_2 -> conv2d_7_nchwc -> conv2d_7, the output of node_conv2d_7
        head = head.rpartition("_")[0]
        for known in (head, _NODE_OF_OUTPUT + head):
            if known in modules:
                return modules[known]
    return UNKNOWN
