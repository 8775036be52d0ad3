"""A small artifact, and a bundle of it, for tests of several rooms: built in a second, without torch."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from fdikp_edge.runtime.artifact import ArtifactWriter
from fdikp_edge.runtime.passport import Passport, TensorContract

SHAPE = (1, 3, 32, 32)
STEP = 1 / 127


def make(folder: Path, precision: str = "fp32", *, golden: float = 0.5, target: str = "onnx") -> Path:
    """Write an artifact whose network halves its input; ``golden`` is the factor its golden output claims.

    At ``int8`` the input is rounded to 8 bits first, unsigned, as the ``onnx`` target writes them.
    """
    onnx = pytest.importorskip("onnx", reason="building a test network needs onnx")
    from onnx import TensorProto, helper, numpy_helper

    body = [helper.make_node("Mul", ["image", "half"], ["deblurred"], name="node_deblurred")]
    weights = {"half": np.float32(0.5)}
    if precision == "int8":
        weights |= {"step": np.float32(STEP), "zero": np.array(128, np.uint8)}
        body = [
            helper.make_node("QuantizeLinear", ["image", "step", "zero"], ["q"], name="q"),
            helper.make_node("DequantizeLinear", ["q", "step", "zero"], ["rounded"], name="dq"),
            helper.make_node("Mul", ["rounded", "half"], ["deblurred"], name="node_deblurred"),
        ]
    for key, value in (("module", "network.halve"), ("node", "mul")):
        entry = body[-1].metadata_props.add()
        entry.key, entry.value = key, value
    graph = helper.make_graph(
        body,
        "half",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("deblurred", TensorProto.FLOAT, SHAPE)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    ports = [
        TensorContract(
            name=name, shape=SHAPE, dtype="float32", layout="NCHW", value_range=(0, 1), color_space="sRGB"
        )
        for name in ("image", "deblurred")
    ]
    image = np.linspace(0, 1, math.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    with ArtifactWriter(folder / f"half-{target}-{precision}") as writer:
        onnx.save(model, writer.folder / "model.onnx")
        np.save(writer.folder / "golden_input.npy", image)
        np.save(writer.folder / "golden_output.npy", image * np.float32(golden))
        return writer.commit(
            Passport(
                model="half",
                weights_sha256="a" * 64,
                program_sha256="b" * 64,
                target=target,
                precision=precision,
                calibration_sha256="c" * 64 if precision == "int8" else None,
                inputs=(ports[0],),
                outputs=(ports[1],),
                model_file="model.onnx",
                golden={"inputs": ["golden_input.npy"], "outputs": ["golden_output.npy"]},
                reason="not verified yet",
            )
        ).path
