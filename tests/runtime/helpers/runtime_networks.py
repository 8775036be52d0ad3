"""Tiny real networks, built with onnx and converted by OpenVINO, and passports for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fdikp_edge.runtime.passport import Passport, TensorContract

TARGETS = ["onnx", "openvino"]
MODEL_FILES = {"onnx": "model.onnx", "openvino": "model.xml"}


def contract(name: str, size: tuple[int, int], kind: str) -> TensorContract:
    height, width = size
    layout: Any = (
        {"shape": (1, height, width, 3), "dtype": "uint8", "layout": "NHWC", "value_range": (0, 255)}
        if kind == "uint8"
        else {"shape": (1, 3, height, width), "dtype": "float32", "layout": "NCHW", "value_range": (0, 1)}
    )
    return TensorContract(name=name, color_space="sRGB", **layout)


def passport(
    size: tuple[int, int] = (32, 32), kind: str = "float", target: str = "onnx", **fields: object
) -> Passport:
    values: dict = {
        "model": "tiny",
        "weights_sha256": "a" * 64,
        "program_sha256": "b" * 64,
        "target": target,
        "precision": "fp32",
        "plan": [{"site": "body.fft", "strategy": "flat"}],
        "precision_census": {"MatMul": 3},
        "toolchain": {"onnx": "1.0"},
        "inputs": (contract("image", size, kind),),
        "outputs": (contract("deblurred", size, kind),),
        "model_file": MODEL_FILES.get(target, "model.bin"),
    }
    return Passport(**{**values, **fields})  # type: ignore[arg-type]


def network(name: str, size: tuple[int, int], kind: str):  # type: ignore[no-untyped-def]
    """An ONNX model from "image" to "deblurred".

    identity; half (brightness); blur (a 5x5 box that sees zeros beyond its tile); center (takes away the
    mean of the tile, so the result depends on where the tile lies); nan.
    """
    from onnx import TensorProto, helper, numpy_helper

    proto = TensorProto.UINT8 if kind == "uint8" else TensorProto.FLOAT
    shape = contract("image", size, kind).shape
    weights: dict[str, np.ndarray] = {}
    node = helper.make_node
    if name == "identity":
        body = [node("Identity", ["x"], ["y"])]
    elif name == "half":
        weights["half"] = np.float32(0.5)
        body = [node("Mul", ["x", "half"], ["y"])]
    elif name == "blur":
        weights["kernel"] = np.full((3, 1, 5, 5), 1 / 25, np.float32)
        body = [node("Conv", ["x", "kernel"], ["y"], group=3, pads=[2, 2, 2, 2])]
    elif name == "center":
        weights["gray"] = np.float32(0.5)
        body = [
            node("GlobalAveragePool", ["x"], ["mean"]),
            node("Sub", ["x", "mean"], ["rest"]),
            node("Add", ["rest", "gray"], ["y"]),
        ]
    else:
        weights["zero"] = np.float32(0)
        body = [node("Mul", ["x", "zero"], ["z"]), node("Div", ["z", "z"], ["y"])]
    if kind == "uint8":
        before = [
            node("Cast", ["image"], ["f"], to=TensorProto.FLOAT),
            node("Transpose", ["f"], ["x"], perm=[0, 3, 1, 2]),
        ]
        after = [
            node("Transpose", ["y"], ["t"], perm=[0, 2, 3, 1]),
            node("Round", ["t"], ["r"]),
            node("Cast", ["r"], ["deblurred"], to=TensorProto.UINT8),
        ]
    else:
        before, after = [node("Identity", ["image"], ["x"])], [node("Identity", ["y"], ["deblurred"])]
    graph = helper.make_graph(
        [*before, *body, *after],
        name,
        [helper.make_tensor_value_info("image", proto, shape)],
        [helper.make_tensor_value_info("deblurred", proto, shape)],
        [numpy_helper.from_array(np.asarray(value), key) for key, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def save_network(model: object, target: str, folder: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="building a test network needs onnx")
    if target == "onnx":
        onnx.save(model, folder / "model.onnx")
        return
    openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed")
    onnx.save(model, folder / "source.onnx")
    converted = openvino.convert_model(folder / "source.onnx")
    openvino.save_model(converted, folder / "model.xml", compress_to_fp16=False)
    (folder / "source.onnx").unlink()
