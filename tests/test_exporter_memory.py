"""What the exporters remember during the tests is what they would have found anew."""

from __future__ import annotations

import importlib

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
import exporter_memory  # noqa: E402


def test_a_remembered_registry_is_a_fresh_one_and_belongs_to_its_caller() -> None:
    registry = importlib.import_module(exporter_memory.REGISTRY).ONNXRegistry
    exporter_memory.remember()
    make = registry.from_torchlib.__func__
    assert make.__wrapped__, "the tests run without the memory: did a name inside PyTorch change?"
    fresh, first = make.__wrapped__(registry, opset_version=18), registry.from_torchlib(opset_version=18)
    first.register_op(torch.ops.aten.relu.default, lambda x: x)
    second = registry.from_torchlib(opset_version=18)
    assert second.opset_version == fresh.opset_version == 18
    functions = {
        one: {
            target: [entry.onnx_function for entry in entries] for target, entries in held.functions.items()
        }
        for one, held in (("fresh", fresh), ("second", second))
    }
    assert functions["second"] == functions["fresh"] and len(functions["fresh"]) > 100
    other = registry.from_torchlib(opset_version=20)
    assert other.opset_version == 20


def test_an_operator_registered_later_is_found() -> None:
    utils = importlib.import_module(exporter_memory.COMPOSITES)
    exporter_memory.remember()
    assert utils._materialize_cpp_cia_ops.__wrapped__
    before = utils._collect_all_valid_cia_ops()
    library = torch.library.Library("exporter_memory", "DEF")
    library.define("late(Tensor x) -> Tensor")
    library.impl("late", lambda x: x + 1, "CompositeImplicitAutograd")
    added = utils._collect_all_valid_cia_ops() - before
    assert {str(operator) for operator in added} == {"exporter_memory.late.default"}
