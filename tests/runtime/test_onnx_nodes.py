"""Reading which module a node came from, from a file that may be anything."""

from __future__ import annotations

import contextlib

import pytest
from fdikp_edge.runtime.onnx_nodes import MODULE_KEY, OnnxNode, onnx_nodes
from fdikp_edge.runtime.tensorrt.engines import name_places
from hypothesis import given, settings
from hypothesis import strategies as st

onnx = pytest.importorskip("onnx", reason="building a test network needs onnx")
from onnx import helper  # noqa: E402


def node(operator: str, name: str, module: str) -> onnx.NodeProto:
    written = helper.make_node(operator, ["x"], [f"{name}_out"], name=name)
    for key, value in (("other", "nothing"), (MODULE_KEY, module)):
        entry = written.metadata_props.add()
        entry.key, entry.value = key, value
    return written


def model_of(nodes: list[onnx.NodeProto]) -> bytes:
    graph = helper.make_graph(nodes, "g", [], [])
    function = helper.make_function("own", "f", ["x"], ["y_out"], [node("Abs", "y", "in.function")], [])
    return helper.make_model(graph, functions=[function]).SerializeToString()


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)


@settings(max_examples=20)
@given(st.dictionaries(NAMES, st.tuples(NAMES, st.text(max_size=20)), max_size=8))
def test_every_named_node_is_found(nodes: dict[str, tuple[str, str]]) -> None:
    read = onnx_nodes(model_of([node(op, name, module) for name, (op, module) in nodes.items()]))
    expected = {name: OnnxNode(op, module) for name, (op, module) in nodes.items()}
    assert read == {**expected, "y": OnnxNode("Abs", "in.function")}


def test_branches_are_looked_into() -> None:
    inner = helper.make_graph([node("Neg", "deep", "a.b")], "inner", [], [])
    branch = helper.make_node("If", ["c"], ["o"], name="if", then_branch=inner, else_branch=inner)
    assert onnx_nodes(model_of([branch]))["deep"] == OnnxNode("Neg", "a.b")


@given(st.binary(max_size=200))
def test_what_is_no_onnx_file_ends_in_a_value_error_or_nothing(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(onnx_nodes(data), dict)


def test_modules_are_found_in_a_line_of_a_log() -> None:
    nodes = {
        "node_conv2d": OnnxNode("Conv", "model.body.0"),
        "node_add": OnnxNode("Add", "model.tail"),
        "plain": OnnxNode("Add", ""),
    }
    line = "[E] No kernel for {ForeignNode[node_conv2d...node_add]} and plain and node_conv2d"
    assert name_places(line, nodes) == ["model.body.0", "model.tail"]
    assert name_places("nothing here", nodes) == []
