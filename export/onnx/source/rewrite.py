"""Rewrites the transforms of an ONNX model as products with constants; all else stays as it is.

``DFT`` and ``STFT`` are linear maps (:mod:`.products`). Window operators of known size become constants.
Nodes in subgraphs are rewritten too; functions of the file that hold a transform are put in the place of
their calls first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ....runtime.errors import LoweringError
from ..checks import nodes as all_nodes
from .constants import Array, Scope
from .maker import UnknownSizeError, Written, label
from .nodes import TRANSFORMS, is_ours, rewrite
from .products import Transform
from .scopes import check_depth, infer, opset_of, scope_of, subgraphs

if TYPE_CHECKING:
    import onnx

MATRIX_PREFIXES = ("dft_r2", "dft_c2", "stft_dft_r2", "stft_dft_c2")
LARGEST_MODEL = 2**31 - 1
"""Bytes of the result, which is one file."""


@dataclass(frozen=True)
class RewrittenNode:
    """One node that was rewritten: what it was, and the bytes of its constant, which several may share.

    ``length`` counts the points of a transform, or the values of a window, whose ``direction`` is empty.
    ``shape`` is that of its input without the real and imaginary parts, of one frame for ``STFT``; ``None``
    stands for a size that the file leaves open. ``output`` is the name of its result, ``strategy`` is
    how a transform is computed, as plans name it, ``work`` the multiply-adds for one signal.
    """

    name: str
    operator: str
    length: int
    direction: str
    bytes: int
    output: str
    shape: tuple[int | None, ...] = ()
    axis: int = 0
    strategy: str = ""
    work: int = 0
    transform: Transform | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, without the matrix's description."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del values["transform"]
        return {**values, "shape": list(self.shape)}


def is_matrix(name: str) -> bool:
    """Whether a stored tensor is the matrix of a rewritten transform, by the name that it was given."""
    return name.startswith(MATRIX_PREFIXES)


def rewrite_transforms(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[RewrittenNode]]:
    """Return a model without ``DFT`` and ``STFT``, and what was rewritten; ``model`` may be changed.

    Raises:
        LoweringError: a node that cannot be rewritten, by name: a length known only at run time, another
            type than float32, a matrix that would be too large.
        BadInputError: the sizes in the file contradict each other.
    """
    check_depth(model.graph)
    model = _inlined(model)
    rewriter = _Rewriter(model)
    while rewriter.run_once():
        pass
    _check_left(model)
    return model, rewriter.rows


def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """Put functions that hold a transform, themselves or through others, in the place of their calls."""
    from onnx import inliner

    holding: set[tuple[str, str]] = set()
    bodies = {(function.domain, function.name): _within(function.node) for function in model.functions}
    growing = True
    while growing:
        new = {
            key
            for key, inside in bodies.items()
            if key not in holding
            and any(is_ours(node) or (node.domain, node.op_type) in holding for node in inside)
        }
        holding |= new
        growing = bool(new)
    if not holding:
        return model
    try:
        return inliner.inline_selected_functions(model, sorted(holding))
    except Exception as error:  # the inliner's errors share no base class
        names = ", ".join(sorted(name for _, name in holding))
        raise LoweringError(f"functions with transforms ({names}) cannot be inlined: {error}") from error


def _within(nodes: Any) -> list[Any]:
    """Return nodes with those of their subgraphs."""
    collected, waiting = [], list(nodes)
    while waiting:
        node = waiting.pop()
        collected.append(node)
        waiting += [inner for graph in subgraphs(node) for inner in graph.node]
    return collected


def _check_left(model: onnx.ModelProto) -> None:
    left = [label(node) for node in all_nodes(model) if is_ours(node) and node.op_type in TRANSFORMS]
    if left:
        raise LoweringError(f"not rewritten: {', '.join(left[:5])}")


class _Rewriter:
    """Rewrites what can be in one pass; the sizes behind a transform may be known only after that."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.opset = opset_of(model)
        self.rows: list[RewrittenNode] = []
        self.stored: dict[str, str] = {}
        self.names = _names(model)
        self.extra = 0
        self.freed: set[str] = set()

    def run_once(self) -> bool:
        """Rewrite what is known; return whether something is left that may be known now.

        Raises:
            LoweringError: something is left, and nothing more became known.
        """
        if not any(is_ours(node) for node in all_nodes(self.model)):
            return False
        pending: list[UnknownSizeError] = []
        before = len(self.rows)
        self._graph(self.model.graph, infer(self.model), None, pending)
        self._drop_unread()
        if self.model.ByteSize() > LARGEST_MODEL:
            raise LoweringError("the rewritten file would have more than 2.1 GB, which no ONNX file can hold")
        if pending and len(self.rows) == before:
            raise pending[0]
        return bool(pending)

    def _graph(
        self,
        graph: onnx.GraphProto,
        inferred: onnx.GraphProto,
        above: Scope | None,
        pending: list[UnknownSizeError],
    ) -> None:
        scope = scope_of(graph, inferred, self.opset, above)
        result: list[Any] = []
        changed = False
        for node, twin in zip(list(graph.node), inferred.node, strict=True):
            for inner, inner_twin in zip(subgraphs(node), subgraphs(twin), strict=True):
                self._graph(inner, inner_twin, scope, pending)
            replacement = None
            if is_ours(node):
                try:
                    replacement = rewrite(node, scope, self._store, self._fresh)
                except UnknownSizeError as error:
                    pending.append(error)
            if replacement is None:
                result.append(node)
                continue
            changed = True
            self.freed.update(name for name in node.input[1:] if name)
            if node.op_type not in TRANSFORMS:
                self.freed.update(node.input)
            self.rows.append(_row(node, replacement, scope))
            result += replacement.nodes
        if changed:
            kept = [type(node).FromString(node.SerializeToString()) for node in result]
            del graph.node[:]
            graph.node.extend(kept)

    def _store(self, key: str, build: Callable[[], Array]) -> str:
        from onnx import numpy_helper

        if key not in self.stored:
            value = build()
            self.extra += value.nbytes
            if self.extra > LARGEST_MODEL:
                raise LoweringError("the constants of its transforms would have more than 2.1 GB")
            name = self.stored[key] = self._fresh(key)
            self.model.graph.initializer.append(numpy_helper.from_array(value, name))
        return self.stored[key]

    def _fresh(self, wish: str) -> str:
        """Return a name that nothing in the model has yet."""
        name, count = wish, 1
        while name in self.names:
            name, count = f"{wish}_{count}", count + 1
        self.names.add(name)
        return name

    def _drop_unread(self) -> None:
        """Drop lengths and axes that only rewritten nodes read, and what computed them."""
        graph = self.model.graph
        ports = {port.name for port in (*graph.input, *graph.output)}
        while True:
            unread = self.freed - _read(self.model) - ports
            makers = [node for node in graph.node if node.output and set(node.output) <= unread]
            self.freed.update(name for node in makers for name in node.input if name)
            gone = {name for node in makers for name in node.output}
            gone |= {tensor.name for tensor in graph.initializer if tensor.name in unread}
            if not gone:
                return
            _drop(graph.node, [bool(node.output) and set(node.output) <= gone for node in graph.node])
            _drop(graph.initializer, [tensor.name in gone for tensor in graph.initializer])
            _drop(graph.value_info, [info.name in gone for info in graph.value_info])


def _read(model: onnx.ModelProto) -> set[str]:
    """Return the names that some node, or the end of a subgraph, reads."""
    collected: set[str] = set()
    for node in all_nodes(model):
        collected.update(node.input)
        for graph in subgraphs(node):
            collected.update(port.name for port in graph.output)
    return collected


def _drop(entries: Any, unwanted: list[bool]) -> None:
    for place in reversed(range(len(entries))):
        if unwanted[place]:
            del entries[place]


def _row(node: onnx.NodeProto, written: Written, scope: Scope) -> RewrittenNode:
    output, transform = node.output[0], written.transform
    name = node.name or output
    if transform is None:
        value = scope.value(output)
        length, size = (0, 0) if value is None else (value.shape[0], value.nbytes)
        return RewrittenNode(name, node.op_type, length, "", size, output)
    return RewrittenNode(
        name,
        node.op_type,
        transform.length,
        transform.direction,
        written.bytes,
        output,
        written.shape,
        written.axis,
        written.strategy,
        written.work,
        transform,
    )


def _names(model: onnx.ModelProto) -> set[str]:
    """Return every name of a value or node, in subgraphs too."""
    names = {tensor.name for tensor in model.graph.initializer} | {port.name for port in model.graph.input}
    for node in all_nodes(model):
        names |= {node.name, *node.input, *node.output}
        for graph in subgraphs(node):
            names |= {tensor.name for tensor in graph.initializer} | {port.name for port in graph.input}
            names |= {port.name for port in graph.output}
    return names
