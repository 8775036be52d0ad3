"""The row of the ``litert`` target."""

from __future__ import annotations

from ...calibration.layer_kinds import CONV2D, PRODUCT
from ...runtime.installed.packages import TORCH, Requirement
from ..options import Option
from ..profile import Profile
from ..target import Target

RUNTIME = Requirement(
    "ai_edge_litert",
    "ai-edge-litert",
    "2.3",
    extra="litert",
    use="running litert artifacts",
)

LITERT = Target(
    name="litert",
    title="LiteRT (.tflite)",
    model_file="model.tflite",
    precisions=("fp32", "fp16", "int8"),
    builder=".litert.build:build",
    build_needs=(TORCH,),
    build_probe=".litert.environment:problem",
    run_needs=(RUNTIME,),
    # Not fitted: the rates of ONNX Runtime, whose convolutions and products cost about the same on two cores.
    costs=Profile(
        "litert",
        macs_per_us=50_000,
        moved_per_us=2_000,
        operator_us=10,
        channels_last=True,
        block_products=True,
        int8_kinds=(CONV2D, PRODUCT),
        rounds_results=True,  # its 8-bit convolutions return 8 bits
    ),
    not_offered={
        "bf16": "bfloat16 was not tried with LiteRT",
    },
    gain="runs artifacts of the litert target (Android's runtime) on this machine",
    calibrated=("int8",),
    devices={"android": ".litert.phone:phone_run"},
    options={
        "delegate": Option(
            "cpu",
            "cpu|gpu|nnapi",
            "what the app should run it on; gpu and nnapi are notes for Android, nothing here runs them",
        )
    },
)
