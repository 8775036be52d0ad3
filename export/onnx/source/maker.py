"""What every rewriting needs: new nodes, stored constants, numbers that a node reads, refusals by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ....runtime.errors import LoweringError
from .constants import Array, Scope, attributes
from .products import Transform

if TYPE_CHECKING:
    import onnx

LARGEST_MATRIX = 1 << 28
"""Bytes of one transform's constants."""
LONGEST = 1 << 24
"""Points of a transform; longer ones are refused before anything is computed from their length."""

Store = Callable[[str, Callable[[], Array]], str]
"""Stores a constant under a key, once, and returns the name of its value."""


class UnknownSizeError(LoweringError):
    """A size that the rewriting needs is not known, or not yet: an earlier transform may stand before it."""


@dataclass
class Written:
    """The nodes in the place of one, and the transform they compute (none: a window), on which data.

    ``shape`` is the input's without the parts, of one frame for ``STFT``; ``axis`` is that of the transform;
    ``strategy`` names how it is computed, as plans do; ``bytes`` counts its constants, ``work`` the
    multiply-adds for one signal.
    """

    nodes: list[onnx.NodeProto]
    transform: Transform | None = None
    shape: tuple[int | None, ...] = ()
    axis: int = 0
    strategy: str = ""
    bytes: int = 0
    work: int = 0


def label(node: onnx.NodeProto) -> str:
    """Return what messages call a node."""
    return f"node {node.name or node.output[0]!r:.80} ({node.op_type})"


def refused(node: onnx.NodeProto, why: str) -> LoweringError:
    """Return the error for a node that cannot be rewritten."""
    return LoweringError(f"{label(node)}: {why}")


class Maker:
    """Builds the nodes in the place of one."""

    def __init__(self, node: onnx.NodeProto, scope: Scope, store: Store, fresh: Callable[[str], str]) -> None:
        """Take the node, what is known where it is, and how constants and names are made."""
        self.node = node
        self.scope = scope
        self.store = store
        self.fresh = fresh
        self.nodes: list[onnx.NodeProto] = []
        self.stem = node.name or node.output[0]
        self.options = attributes(node)

    def scalar(self, place: int, what: str, default: int | None) -> int:
        """Return a whole number that the node reads from an input.

        Raises:
            LoweringError: it is no whole number.
            UnknownSizeError: it is computed at run time, or absent and without a default.
        """
        name = self.node.input[place] if place < len(self.node.input) else ""
        if not name:
            if default is None:
                raise self.unknown(f"its {what}")
            return default
        value = self.scope.value(name)
        if value is None:
            raise self.unknown(f"its {what} ({name!r:.80}), computed at run time,")
        if value.size != 1 or value.dtype.kind not in "iu":
            raise self.refused(f"its {what} is not one whole number, but {value.dtype}{list(value.shape)}")
        return int(value.ravel()[0])

    def constant(self, key: str, build: Callable[[], Array]) -> str:
        """Return the name of a stored constant, shared by all that ask for its key."""
        return self.store(key, build)

    def sizes(self, sizes: Sequence[int]) -> str:
        """Return the name of stored whole numbers."""
        key = "sizes_" + "_".join(map(str, sizes)).replace("-", "m")
        return self.constant(key, lambda: np.array(sizes, np.int64))

    def add(self, operator: str, inputs: list[str], what: str, *, last: bool = False, **options: Any) -> str:
        """Add a node and return its result's name; that of the ``last`` one is the old node's."""
        from onnx import helper

        result = self.node.output[0] if last else self.fresh(f"{self.stem}/{what}")
        added = helper.make_node(
            operator, inputs, [result], self.fresh(f"{self.stem}/{what}_node"), **options
        )
        added.doc_string = self.node.doc_string
        added.metadata_props.extend(self.node.metadata_props)
        self.nodes.append(added)
        return result

    def refused(self, why: str) -> LoweringError:
        """Return the error for a node that cannot be rewritten."""
        return refused(self.node, why)

    def unknown(self, what: str) -> UnknownSizeError:
        """Return the error for a size that is not known."""
        return UnknownSizeError(
            f"{label(self.node)}: {what} is not known; fix the sizes of the network's inputs"
        )
