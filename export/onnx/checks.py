"""What must hold of a finished ONNX file, read from the file's own graph."""

from __future__ import annotations

import ast
import contextlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ...runtime.errors import LoweringError
from ...runtime.onnx_nodes import MODULE_KEY
from ..forbidden import check_census, table
from ..spectral.strategies.custom import NAMESPACE as DOMAIN

if TYPE_CHECKING:
    import onnx

_SCOPES = "pkg.torch.onnx.name_scopes"
LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators that the layers of a program become."""
NODE_KEY = "node"
"""Key of the name of the program's node that an ONNX node came from. Names of ONNX values say nothing: the
exporter rewrites the program first, and counts anew."""
NODE_SCOPE = "node of the program:"
"""Scope under which the exporter is handed a node's name, in a form no module path has."""


def nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Yield every node, those of subgraphs and local functions included."""
    waiting: list[Any] = [
        *model.graph.node,
        *(node for function in model.functions for node in function.node),
    ]
    while waiting:
        node = waiting.pop()
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                waiting.extend(graph.node)


def census(model: onnx.ModelProto) -> dict[str, int]:
    """Return how many nodes there are of each operator type, most frequent first."""
    return table(Counter(node.op_type for node in nodes(model)))


def precisions(model: onnx.ModelProto) -> dict[str, int]:
    """Return how many nodes compute in each element type, by the type of their first output."""
    import onnx

    kinds = {
        info.name: info.type.tensor_type.elem_type
        for info in _values(onnx.shape_inference.infer_shapes(model))
    }
    counts: Counter[str] = Counter()
    for node in model.graph.node:
        kind = kinds.get(node.output[0], 0)
        counts[onnx.TensorProto.DataType.Name(kind).lower()] += 1
    return table(counts)


def check(model: onnx.ModelProto, notes: list[str], allowed: Collection[str] = ()) -> None:
    """Check a finished model; what is legal but wasteful is appended to ``notes``.

    ``allowed`` are operators that would be refused otherwise (see :mod:`..forbidden`).

    Raises:
        LoweringError: invalid ONNX, a transform, a complex value, control flow, an operator outside the
        standard
            set, or a size that is not fixed.
    """
    import onnx

    try:
        onnx.checker.check_model(model, full_check=True)
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except Exception as error:  # ValidationError and InferenceError share no base class
        raise LoweringError(f"model.onnx: not valid ONNX: {str(error).splitlines()[0]}") from error
    check_census(census(model), "model.onnx", allowed)
    # The operators of our own domain are defined in the file, in terms of the standard's.
    ours = {(function.domain, function.name) for function in model.functions if function.domain == DOMAIN}
    foreign = sorted(
        {
            f"{node.domain}::{node.op_type}"
            for node in nodes(model)
            if node.domain not in ("", "ai.onnx") and (node.domain, node.op_type) not in ours
        }
    )
    if foreign or len(ours) < len(model.functions):
        named = foreign + [function.name for function in model.functions if function.domain != DOMAIN]
        raise LoweringError(f"model.onnx: operators outside the ONNX standard: {', '.join(named)}")
    _check_values(inferred)
    if wasted := constant_nodes(model):
        counts = ", ".join(
            f"{count} {name}" for name, count in table(Counter(n.op_type for n in wasted)).items()
        )
        notes.append(f"model.onnx: recomputes constants on every run: {counts}")


def constant_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the nodes whose inputs are all known when the file is written."""
    known = {tensor.name for tensor in model.graph.initializer} | {""}
    constants = []
    for node in model.graph.node:  # in topological order, which the checker has checked
        if node.op_type == "Constant":
            known.update(node.output)
        elif all(name in known for name in node.input) and not node.op_type.startswith("Random"):
            known.update(node.output)
            constants.append(node)
    return constants


Provenance = tuple[str, str]
"""Path of a module, name of a node of the program; either may be empty."""


def provenance(model: onnx.ModelProto) -> dict[str, Provenance]:
    """Return output name -> where it comes from, as torch's exporter recorded."""
    origins = {}
    for node in model.graph.node:
        for entry in node.metadata_props:
            if entry.key == _SCOPES:
                with contextlib.suppress(ValueError, SyntaxError):
                    # The last scope is the node itself, the first is the root.
                    *_, last = scopes = [str(scope) for scope in ast.literal_eval(entry.value)][1:-1] or [""]
                    name = last.removeprefix(NODE_SCOPE) if last.startswith(NODE_SCOPE) else ""
                    modules = scopes[:-1] if name else scopes
                    origins[node.output[0]] = (modules[-1] if modules else "", name)
    return origins


def strip(model: onnx.ModelProto, sources: Mapping[str, Provenance]) -> None:
    """Remove what converters leave behind, such as stack traces with local paths; keep provenance.

    A node that a simplifier put in the place of others has none. It gets that of the one node that reads it,
    and a name by it: the simplifier's count from the start of the process.
    """
    adopted = _adopted(model, sources)
    names = {node.name for node in model.graph.node}
    for node in model.graph.node:
        name = f"node_{adopted[node.output[0]][1]}_{node.op_type}" if node.output[0] in adopted else ""
        if name and name not in names:
            node.name = name
            names.add(name)
    sources = {**sources, **adopted}
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    for value in (*_values(model), *model.graph.initializer):
        del value.metadata_props[:]
        value.doc_string = ""
    for node in nodes(model):
        del node.metadata_props[:]
        node.doc_string = ""
        source = sources.get(node.output[0], ("", "")) if node.output else ("", "")
        for key, value in zip((MODULE_KEY, NODE_KEY), source, strict=True):
            if value:
                entry = node.metadata_props.add()
                entry.key, entry.value = key, value


def _adopted(model: onnx.ModelProto, sources: Mapping[str, Provenance]) -> dict[str, Provenance]:
    """Return output name -> provenance of its only reader, for nodes without their own."""
    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    origins: dict[str, Provenance] = {}
    for node in reversed(model.graph.node):
        name = node.output[0]
        after = readers.get(name, [])
        if name not in sources and len(after) == 1:
            own = after[0].output[0]
            if origin := sources.get(own) or origins.get(own):
                origins[name] = origin
    return origins


def source_node(node: onnx.NodeProto) -> str:
    """Return the name of the program's node that an ONNX node came from; empty where nothing says."""
    return next((entry.value for entry in node.metadata_props if entry.key == NODE_KEY), "")


def _values(model: Any) -> list[Any]:
    graph = model.graph
    return [*graph.input, *graph.output, *graph.value_info]


def _check_values(model: Any) -> None:
    import onnx

    complex_types = {onnx.TensorProto.COMPLEX64, onnx.TensorProto.COMPLEX128}
    kinds = [(tensor.name, tensor.data_type) for tensor in model.graph.initializer]
    for info in _values(model):
        tensor = info.type.tensor_type
        kinds.append((info.name, tensor.elem_type))
        open_sizes = [d for d in tensor.shape.dim if d.WhichOneof("value") != "dim_value"]
        if not tensor.HasField("shape") or open_sizes:
            raise LoweringError(f"model.onnx: the size of {info.name!r} is not fixed")
    if complex_values := [name for name, kind in kinds if kind in complex_types]:
        raise LoweringError(f"model.onnx: complex values remain: {', '.join(complex_values[:5])}")
