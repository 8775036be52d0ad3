"""The row of the ``onnx`` target."""

from __future__ import annotations

from ...calibration.layer_kinds import CONVOLUTIONS, LEFT_PRODUCT, PRODUCT, TRANSPOSED
from ...runtime.installed import packages
from ..options import WEIGHTS
from ..profile import Profile
from ..target import Target

BUILD_NEEDS = (packages.TORCH, packages.ONNX, packages.ONNXSCRIPT)
"""What builds an ONNX file, for every target that goes through one."""

# ONNX Runtime 1.31 on x86: 10240x224 by 224x224 twice, 12.9 ms in floats, 16.5 ms quantised with a float bias
# (it does not fuse that), 12.2 ms with the result rounded too.
COSTS = Profile(
    "onnx",
    macs_per_us=50_000,
    moved_per_us=2_000,
    operator_us=10,
    planar_mixing=True,
    # Convolutions over lines and volumes gain as much as those over planes, with results rounded. Transposed
    # ones are slower: ONNX Runtime 1.31 has no 8-bit kernel for them, and rounds in between.
    int8_kinds=CONVOLUTIONS,
    int8_stored=(PRODUCT, LEFT_PRODUCT, TRANSPOSED),
    int8_first=False,  # its result, rounded, is what every later sum starts from
    int8_last=False,
    rounds_results=True,
)

ONNX = Target(
    name="onnx",
    title="ONNX, on ONNX Runtime",
    model_file="model.onnx",
    precisions=("fp32", "fp16", "int8"),
    builder=".onnx.build:build",
    build_needs=BUILD_NEEDS,
    run_needs=(packages.ONNXRUNTIME,),
    costs=COSTS,
    not_offered={"bf16": "ONNX Runtime has no bfloat16 kernels for processors"},
    calibrated=("fp16", "int8"),
    options={"weights": WEIGHTS},
    parts=".onnx.parts:open_parts",
    layer_runs=".onnx.layer_runs:open_layer_runs",
    devices={"jetson": ".onnx.for_tensorrt:change"},
)
