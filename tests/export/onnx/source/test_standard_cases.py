"""The cases of the ONNX standard's own back-end tests, rewritten, in ONNX Runtime, against their outputs."""

from __future__ import annotations

import functools
import importlib
import warnings
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from fdikp_edge.export.onnx.source.rewrite import rewrite_transforms
from onnx import numpy_helper

MODULES = ("dft", "stft", "hannwindow", "hammingwindow", "blackmanwindow", "melweightmatrix")
KINDS = ("", "_axis", "_inverse", "_rfft", "_irfft")
DFT = [f"test_dft{kind}{opset}" for kind in KINDS for opset in ("", "_opset19")]
STFT = ["test_stft", "test_stft_with_window"]
WINDOWS = [
    f"test_{name}window{form}{expanded}"
    for name in ("hann", "hamming", "blackman")
    for form in ("", "_symmetric")
    for expanded in ("", "_expanded")
]
REWRITTEN = {"DFT", "STFT", "HannWindow", "HammingWindow", "BlackmanWindow", "MelWeightMatrix"}


@functools.cache
def cases() -> dict[str, Any]:
    """The standard's cases of these operators, which its modules make when they are imported."""
    from onnx.backend.test.case import node

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in MODULES:
            importlib.import_module(f"{node.__name__}.{name}")
    return {case.name: case for case in node._NodeTestCases}


def bound(model: onnx.ModelProto, values: dict[str, Any]) -> onnx.ModelProto:
    """The model with these inputs as constants: the cases feed lengths and axes at run time."""
    kept = [port for port in model.graph.input if port.name not in values]
    for name, value in values.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    ports = [onnx.ValueInfoProto.FromString(port.SerializeToString()) for port in kept]
    del model.graph.input[:]
    model.graph.input.extend(ports)
    return model


@pytest.mark.parametrize("name", [*DFT, *STFT, *WINDOWS, "test_melweightmatrix"])
def test_case(name: str) -> None:
    case = cases()[name]
    model = onnx.ModelProto.FromString(case.model.SerializeToString())
    ((inputs, outputs),) = case.data_sets
    given = dict(zip([port.name for port in model.graph.input], map(np.asarray, inputs), strict=True))
    constants = {key: value for key, value in given.items() if value.ndim == 0}
    before = {node.op_type for node in model.graph.node} & REWRITTEN
    assert bool(before) != name.endswith("_expanded")

    plain, rows = rewrite_transforms(bound(model, constants))

    assert {row.operator for row in rows} == before
    assert not {node.op_type for node in plain.graph.node} & REWRITTEN
    onnx.checker.check_model(plain, full_check=True)
    session = ort.InferenceSession(plain.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {key: value for key, value in given.items() if key not in constants}
    results = session.run(None, feeds)
    for result, expected in zip(results, outputs, strict=True):
        assert result.dtype == expected.dtype and result.shape == expected.shape
        slack = max(case.atol, 2e-6 * float(np.abs(expected).max()))
        np.testing.assert_allclose(result, expected, rtol=case.rtol, atol=slack)


def test_no_case_is_left_out() -> None:
    ours = {name for name in cases() if cases()[name].model.graph.node}
    assert ours == {*DFT, *STFT, *WINDOWS, "test_melweightmatrix"}
