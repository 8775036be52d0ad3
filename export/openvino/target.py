"""The row of the ``openvino`` target."""

from __future__ import annotations

from ...calibration.layer_kinds import CONVOLUTIONS, LEFT_PRODUCT, PRODUCT, TRANSPOSED
from ...runtime.installed.packages import Requirement
from ..onnx.target import BUILD_NEEDS
from ..options import WEIGHTS
from ..profile import Profile
from ..target import Target

RUNTIME = Requirement(
    "openvino",
    "openvino",
    "2025.3",
    extra="openvino",
    use="building and running openvino artifacts",
)

OPENVINO = Target(
    name="openvino",
    title="OpenVINO IR",
    model_file="model.xml",
    precisions=("fp32", "fp16", "bf16", "int8"),
    builder=".openvino.build:build",
    build_needs=(*BUILD_NEEDS, RUNTIME),
    run_needs=(RUNTIME,),
    costs=Profile(
        "openvino",
        macs_per_us=60_000,
        moved_per_us=3_000,
        operator_us=15,
        channels_last=True,
        planar_mixing=True,
        # Convolutions over lines and volumes gain as much as those over planes. Transposed ones are as fast
        # as in floats or slower; so are products of weights with data, whose steps OpenVINO 2026.4 misplaces.
        int8_kinds=(*CONVOLUTIONS, PRODUCT),
        int8_stored=(LEFT_PRODUCT, TRANSPOSED),
        int8_last=False,
    ),
    gain="adds the openvino target, often the fastest on an Intel or AMD processor",
    calibrated=("fp16", "int8"),
    options={"weights": WEIGHTS},
    parts=".openvino.parts:open_parts",
    layer_runs=".openvino.layer_runs:open_layer_runs",
)
