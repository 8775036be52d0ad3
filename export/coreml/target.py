"""The row of the ``coreml`` target."""

from __future__ import annotations

from ...runtime.installed.packages import TORCH, Requirement
from ..profile import Profile
from ..target import Target

COREML = Target(
    name="coreml",
    title="Core ML (.mlpackage)",
    model_file="model.mlpackage",
    precisions=("fp32", "fp16", "int8"),
    builder=".coreml.build:build",
    build_needs=(
        TORCH,
        Requirement(
            "coremltools",
            "coremltools",
            "9.0",
            extra="coreml",
            use="building coreml artifacts, and running them on a Mac",
        ),
    ),
    run_needs=(),  # the reference interpreter has NumPy alone
    run_remark="without a Mac: MIL reference interpreter, for numerical results, not for speed",
    costs=Profile("coreml", macs_per_us=55_000, moved_per_us=2_500, operator_us=15, runtime_kernels=False),
    not_offered={"bf16": "Core ML programs have no bfloat16"},
    calibrated=("int8",),
    parts=".coreml.parts:open_parts",
)
