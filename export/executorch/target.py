"""The row of the ``executorch`` target."""

from __future__ import annotations

from ...calibration.layer_kinds import CONV2D
from ...runtime.installed.packages import TORCH, Requirement
from ..options import Option
from ..profile import Profile
from ..target import Target

PACKAGE = Requirement(
    "executorch",
    "executorch",
    "1.5",
    extra="executorch",
    use="building and running executorch artifacts",
)

EXECUTORCH = Target(
    name="executorch",
    title="ExecuTorch (.pte), on XNNPACK",
    model_file="model.pte",
    precisions=("fp32", "fp16", "int8"),
    builder=".executorch.build:build",
    build_needs=(TORCH, PACKAGE),
    run_needs=(TORCH, PACKAGE),
    run_probe="..runtime.sessions.executorch_session:problem",
    # XNNPACK packs the weights of a convolution once, so that it takes stored kernels only. Not fitted: the
    # rates of ONNX Runtime, whose convolutions and products cost about the same.
    costs=Profile(
        "executorch",
        macs_per_us=50_000,
        moved_per_us=2_000,
        operator_us=10,
        runtime_kernels=False,
        block_products=True,
        int8_kinds=(CONV2D,),
        rounds_results=True,  # its 8-bit convolutions return 8 bits
        int8_last=False,  # its result would have 8 bits too, which is the picture
    ),
    not_offered={
        "bf16": "bfloat16 was not tried with ExecuTorch",
    },
    gain="adds the executorch target, PyTorch's own runtime for phones and boards",
    calibrated=("fp16", "int8"),
    devices={"android": ".executorch.phone:phone_run"},
    options={
        "delegate": Option(
            "xnnpack",
            "xnnpack|coreml|vulkan|qnn",
            "what computes the operators: xnnpack (processors), coreml (Apple), vulkan (GPUs of Android), "
            "qnn (Qualcomm); only xnnpack runs here, artifacts for the others stay unverified",
        ),
    },
)
