"""Rewritten DFT and STFT nodes against NumPy's own transforms, and the nodes that are refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from fdikp_edge.export.onnx.source.rewrite import rewrite_transforms
from fdikp_edge.runtime.errors import LoweringError
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).parent))
from graphs import complex_of, dft, model_of, noise, parts_of, run


def operators(model: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in model.graph.node}


def expected(x: Any, axis: int, *, inverse: bool, onesided: bool, length: int | None) -> Any:
    """NumPy's answer in float64, in the layout of ONNX."""
    z = complex_of(x.astype(np.float64))
    if onesided and inverse:
        return np.fft.irfft(z, n=length, axis=axis)[..., None]
    if onesided:
        return parts_of(np.fft.rfft(z.real, n=length, axis=axis))
    return parts_of((np.fft.ifft if inverse else np.fft.fft)(z, n=length, axis=axis))


@settings(max_examples=60)
@given(data=st.data())
def test_every_form_of_dft_is_numpys(data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, 3), "signal dimensions")
    shape = tuple(data.draw(st.integers(2, 9), "size") for _ in range(rank))
    opset = data.draw(st.sampled_from((17, 19, 20, 21)))
    axis = data.draw(st.integers(0, rank - 1), "axis")
    inverse, onesided = data.draw(st.booleans(), "inverse"), data.draw(st.booleans(), "onesided")
    parts = (2 if inverse else 1) if onesided else data.draw(st.sampled_from((1, 2)), "parts")
    length = data.draw(st.none() | st.integers(2, 12), "length")
    typed = axis - rank - 1 if data.draw(st.booleans(), "negative") else axis
    x = noise(*shape, parts)

    model = dft(x.shape, typed, inverse=inverse, onesided=onesided, length=length, opset=opset)
    plain, (row,) = rewrite_transforms(model)

    assert "DFT" not in operators(plain)
    right = expected(x, axis, inverse=inverse, onesided=onesided, length=length)
    (result,) = run(plain, x=x)
    assert result.shape == right.shape
    np.testing.assert_allclose(result, right, atol=3e-6 * max(1.0, np.abs(right).max()))
    default = 2 * (shape[axis] - 1) if inverse and onesided else shape[axis]
    assert row.length == (length or default) and row.operator == "DFT" and row.name == "transform"
    assert row.direction.startswith("inverse" if inverse else "forward")
    assert {tensor.name for tensor in plain.graph.initializer}.isdisjoint({"axis", "length"})


@settings(max_examples=25)
@given(data=st.data())
def test_every_form_of_stft_is_a_dft_of_frames(data: st.DataObject) -> None:
    length, step = data.draw(st.integers(2, 12), "frame"), data.draw(st.integers(1, 7), "step")
    samples = length + data.draw(st.integers(0, 20), "more samples")
    onesided = data.draw(st.booleans(), "onesided")
    parts = 1 if onesided else data.draw(st.sampled_from((1, 2)), "parts")
    windowed, with_length = data.draw(st.booleans(), "window"), data.draw(st.booleans(), "frame_length given")
    x, window = noise(2, samples, parts), noise(length) if windowed else np.ones(length, np.float32)
    constants: dict[str, Any] = {"step": np.int64(step)}
    if windowed:
        constants["window"] = window
    if with_length or not windowed:
        constants["frame"] = np.int64(length)
    inputs = ["x", "step", "window" if windowed else "", "frame" if with_length or not windowed else ""]
    node = helper.make_node("STFT", inputs, ["y"], "frames", onesided=int(onesided))

    plain, (row,) = rewrite_transforms(model_of([node], {"x": x.shape}, ["y"], constants, opset=17))

    starts = range(0, samples - length + 1, step)
    frames = np.stack([complex_of(x.astype(np.float64))[:, at : at + length] for at in starts], 1)
    spectrum = np.fft.fft(frames * window.astype(np.float64), axis=-1)
    right = parts_of(spectrum[..., : length // 2 + 1] if onesided else spectrum)
    (result,) = run(plain, x=x)
    assert result.shape == right.shape and row.length == length
    np.testing.assert_allclose(result, right, atol=3e-6 * max(1.0, np.abs(right).max()))


@pytest.mark.parametrize(
    ("shape", "axis", "inverse", "onesided", "length"),
    [
        ((2, 2048, 1), 1, False, True, None),
        ((3, 2500, 2), 1, False, False, None),
        ((2, 2100, 3, 2), 1, True, False, None),
        ((2, 1025, 2), 1, True, True, None),
        ((2, 1100, 2), 1, True, True, 2187),
        ((3, 1500, 1), 1, False, True, 2400),
    ],
)
def test_long_transforms_are_two_products(
    shape: tuple[int, ...], axis: int, inverse: bool, onesided: bool, length: int | None
) -> None:
    x = noise(*shape)
    open_batch = ["batch", *shape[1:]]
    plain, (row,) = rewrite_transforms(
        dft(open_batch, axis, inverse=inverse, onesided=onesided, length=length)
    )
    assert row.strategy == "factored" and sum(node.op_type == "MatMul" for node in plain.graph.node) == 2
    assert row.bytes < 2**22
    right = expected(x, axis, inverse=inverse, onesided=onesided, length=length)
    (result,) = run(plain, x=x)
    assert result.shape == right.shape
    np.testing.assert_allclose(result, right, atol=2e-6 * np.abs(right).max())


def test_imaginary_parts_that_no_real_signal_has_do_not_matter() -> None:
    x = noise(1, 5, 2)  # imaginary parts at the first and the last bin too
    plain, _ = rewrite_transforms(dft(x.shape, 1, inverse=True, onesided=True))
    x2 = x.copy()
    x2[:, [0, -1], 1] = 0
    np.testing.assert_array_equal(run(plain, x=x)[0], run(plain, x=x2)[0])


def test_sizes_beside_the_axis_may_be_open() -> None:
    plain, _ = rewrite_transforms(dft(["batch", 8, "width", 2], 1))
    for batch, width in ((1, 3), (4, 5)):
        x = noise(batch, 8, width, 2)
        np.testing.assert_allclose(run(plain, x=x)[0], parts_of(np.fft.fft(complex_of(x), axis=1)), atol=2e-5)


def test_stft_of_a_signal_of_open_length_with_a_window_computed_at_run_time() -> None:
    nodes = [
        helper.make_node("Mul", ["shape", "shape"], ["window"]),
        helper.make_node("STFT", ["x", "step", "window"], ["y"], "frames"),
    ]
    model = model_of(nodes, {"x": [1, "time", 1], "shape": [8]}, ["y"], {"step": np.int64(4)}, opset=17)
    plain, _ = rewrite_transforms(model)
    x, shape = noise(1, 24, 1), noise(8)
    frames = np.stack([x[:, at : at + 8, 0] for at in range(0, 17, 4)], 1)
    (result,) = run(plain, x=x, shape=shape)
    np.testing.assert_allclose(result, parts_of(np.fft.rfft(frames * shape**2)), atol=2e-5)


def test_equal_transforms_share_one_matrix_and_the_file_is_the_same_every_time() -> None:
    def model() -> onnx.ModelProto:
        nodes = [
            helper.make_node("DFT", ["x", "", "axis"], ["a"], "first"),
            helper.make_node("Relu", ["a"], ["b"]),
            helper.make_node("DFT", ["b", "", "axis"], ["y"], "second"),
            helper.make_node("DFT", ["b", "", "other"], ["z"], "third"),
        ]
        constants = {"axis": np.int64(1), "other": np.int64(2)}
        return model_of(nodes, {"x": [1, 6, 6, 2]}, ["y", "z"], constants)

    plain, rows = rewrite_transforms(model())
    again, _ = rewrite_transforms(model())
    assert len(rows) == 3
    assert sum(tensor.name.startswith("dft_") for tensor in plain.graph.initializer) == 1
    assert plain.SerializeToString(deterministic=True) == again.SerializeToString(deterministic=True)
    assert "Relu" in operators(plain)


def test_the_axis_may_be_computed_from_known_shapes() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["sizes"]),
        helper.make_node("Gather", ["sizes", "last"], ["size"]),
        helper.make_node("Add", ["size", "size"], ["length"]),
        helper.make_node("DFT", ["x", "length", "axis"], ["y"], "transform"),
    ]
    constants = {"last": np.int64(1), "axis": np.int64(1)}
    plain, (row,) = rewrite_transforms(model_of(nodes, {"x": [1, 6, 1]}, ["y"], constants))
    assert row.length == 12
    assert operators(plain) == {"Reshape", "MatMul"}, "what only computed the length is gone"
    x = noise(1, 6, 1)
    np.testing.assert_allclose(run(plain, x=x)[0], parts_of(np.fft.fft(x[..., 0], 12)), atol=1e-5)


def branches(axis: str) -> onnx.ModelProto:
    """An If with a transform in one branch, of a value of the outer graph; results have the same name."""

    def branch(node: onnx.NodeProto, name: str) -> onnx.GraphProto:
        return helper.make_graph(
            [node], name, [], [helper.make_tensor_value_info("r", TensorProto.FLOAT, None)]
        )

    there = branch(helper.make_node("DFT", ["x", "", axis], ["r"], "inside"), "then")
    here = branch(helper.make_node("Relu", ["x"], ["r"], "other"), "else")
    nodes = [helper.make_node("If", ["on"], ["y"], "choice", then_branch=there, else_branch=here)]
    model = model_of(nodes, {"x": [1, 6, 2]}, ["y"], {"axis": np.int64(1)})
    model.graph.input.append(helper.make_tensor_value_info("on", TensorProto.BOOL, []))
    model.graph.input.append(helper.make_tensor_value_info("at_run_time", TensorProto.INT64, []))
    return model


def test_a_transform_in_a_branch_is_rewritten() -> None:
    plain, (row,) = rewrite_transforms(branches("axis"))
    assert row.name == "inside"
    x = noise(1, 6, 2)
    feeds = {"x": x, "at_run_time": np.array(1)}
    (result,) = run(plain, on=np.array(True), **feeds)
    np.testing.assert_allclose(result, parts_of(np.fft.fft(complex_of(x))), atol=1e-5)
    np.testing.assert_array_equal(run(plain, on=np.array(False), **feeds)[0], np.maximum(x, 0))


def test_a_transform_in_a_branch_is_refused_by_name() -> None:
    with pytest.raises(LoweringError, match=r"'inside' \(DFT\).*axis.*'at_run_time'"):
        rewrite_transforms(branches("at_run_time"))


def test_a_transform_in_a_function_of_the_file_is_rewritten() -> None:
    inner = helper.make_function(
        "ours",
        "Spectrum",
        ["a"],
        ["b"],
        [
            helper.make_node("Constant", [], ["axis"], value=numpy_helper.from_array(np.array(1))),
            helper.make_node("DFT", ["a", "", "axis"], ["b"], "deep"),
        ],
        [helper.make_opsetid("", 20)],
    )
    outer = helper.make_function(
        "ours",
        "Twice",
        ["a"],
        ["c"],
        [
            helper.make_node("Spectrum", ["a"], ["b"], domain="ours"),
            helper.make_node("Spectrum", ["b"], ["c"], domain="ours"),
        ],
        [helper.make_opsetid("", 20), helper.make_opsetid("ours", 1)],
    )
    node = helper.make_node("Twice", ["x"], ["y"], "call", domain="ours")
    x = noise(1, 6, 2)
    plain, rows = rewrite_transforms(model_of([node], {"x": x.shape}, ["y"], functions=[inner, outer]))
    assert len(rows) == 2
    right = parts_of(np.fft.fft(np.fft.fft(complex_of(x))))
    np.testing.assert_allclose(run(plain, x=x)[0], right, atol=5e-5)


REFUSED: dict[str, tuple[onnx.ModelProto, str]] = {
    "open length": (dft([1, "n", 2], 1), "'transform' .*size of its input along axis 1"),
    "open parts": (dft([1, 8, "parts"], 1), "'transform' .*real or complex"),
    "open rank": (dft(None, 1), "'transform' .*rank of 'x'"),  # type: ignore[arg-type]
    "half": (dft([1, 8, 2], 1, kind=TensorProto.FLOAT16), "'transform' .*float16, not float32"),
    "double": (dft([1, 8, 2], 1, kind=TensorProto.DOUBLE), "'transform' .*double, not float32"),
    "bfloat": (dft([1, 8, 2], 1, kind=TensorProto.BFLOAT16), "'transform' .*bfloat16, not float32"),
    "last axis": (dft([1, 8, 2], 2), "'transform' .*axis 2 is no signal axis"),
    "three parts": (dft([1, 8, 3], 1), "last dimension is 3"),
    "half spectrum of complex values": (dft([1, 8, 2], 1, onesided=True), "takes real values"),
    "real half spectrum": (dft([1, 8, 1], 1, onesided=True, inverse=True), "takes complex values"),
    "no points": (dft([1, 8, 2], 1, length=0), "0 points"),
    "negative": (dft([1, 8, 2], 1, length=-3), "-3 points"),
    "one bin": (dft([1, 1, 2], 1, onesided=True, inverse=True), "0 points"),
    "too long": (dft([1, 8, 2], 1, length=2**60), "points"),
    "too large a matrix": (dft([1, 2**16 + 1, 2], 1), r"its constants for 65537 points would have \d+ MB"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_name(case: str) -> None:
    model, why = REFUSED[case]
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    with pytest.raises(LoweringError, match=why):
        rewrite_transforms(copy)


def test_a_circle_of_constants_ends() -> None:
    model = dft([1, 8, 2], 1, length=4)
    del model.graph.initializer[:]
    model.graph.node.insert(0, helper.make_node("Neg", ["length"], ["axis"]))
    model.graph.node.insert(0, helper.make_node("Neg", ["axis"], ["length"]))
    with pytest.raises(LoweringError, match="'axis'"):
        rewrite_transforms(model)


def test_windows_of_a_size_known_at_run_time_only_stay() -> None:
    node = helper.make_node("HannWindow", ["size"], ["y"])
    model = model_of([node], {}, ["y"], opset=17)
    model.graph.input.append(helper.make_tensor_value_info("size", TensorProto.INT64, []))
    plain, rows = rewrite_transforms(model)
    assert not rows and operators(plain) == {"HannWindow"}
