"""The rows of the ``tensorrt-rtx`` and ``tensorrt`` targets, which one builder serves."""

from __future__ import annotations

import dataclasses

from ...runtime.installed.packages import Requirement
from ...runtime.tensorrt.features import RTX_CAPABILITIES
from ..onnx.target import BUILD_NEEDS
from ..options import Option
from ..profile import Profile
from ..target import Target

# Orders of magnitude of an embedded GPU's data sheet, not measured: 1.5 T multiply-adds and 25 G elements a
# second, 8 us for a kernel.
COSTS = Profile("tensorrt", macs_per_us=1_500_000, moved_per_us=25_000, operator_us=8)
NATIVE = dataclasses.replace(COSTS, name="tensorrt-native", automatic=(*COSTS.automatic, "native"))
"""With a transform of the runtime's own: TensorRT from 11.2."""
PLUGIN = dataclasses.replace(COSTS, name="tensorrt-plugin", automatic=(*COSTS.automatic, "custom-op"))
"""With the plugin of ``export/tensorrt/plugins``, in any TensorRT."""

POLYGRAPHY = Requirement(
    "polygraphy",
    "polygraphy",
    "0.53",
    extra="tensorrt",
    use="building tensorrt and tensorrt-rtx artifacts",
)
RTX = Requirement(
    "tensorrt_rtx",
    "tensorrt-rtx-cu13",
    "1.7",
    extra="tensorrt-rtx",
    use="building and running tensorrt-rtx artifacts",
)
CLASSIC = Requirement(
    "tensorrt",
    "tensorrt",
    "10.3",
    install="it comes with JetPack, or as a package of NVIDIA's: docs.nvidia.com/deeplearning/tensorrt",
    use="building and running tensorrt artifacts",
)

TENSORRT_RTX = Target(
    name="tensorrt-rtx",
    title="TensorRT-RTX engine",
    model_file="model.engine",
    precisions=("fp32", "fp16", "bf16", "int8"),
    builder=".tensorrt.build:build_rtx",
    build_needs=(*BUILD_NEEDS, dataclasses.replace(POLYGRAPHY, extra="tensorrt-rtx"), RTX),
    run_needs=(RTX,),
    run_probe="..runtime.tensorrt.cuda:gpu_problem",
    costs=COSTS,
    calibrated=("fp16", "int8"),
    options={
        "capabilities": Option(
            "8.6,8.9,12.0",
            r"\d{1,2}\.\d(,\d{1,2}\.\d){0,7}",
            "compute capabilities of the GPUs that the engine is for",
            offered=RTX_CAPABILITIES,
        )
    },
    devices={"jetson": None},
)

TENSORRT = Target(
    name="tensorrt",
    title="TensorRT engine, for the GPU of this machine",
    model_file="model.engine",
    precisions=("fp32", "fp16", "bf16", "int8"),
    builder=".tensorrt.build:build_classic",
    build_needs=(*BUILD_NEEDS, POLYGRAPHY, CLASSIC),
    run_needs=(CLASSIC,),
    run_probe="..runtime.tensorrt.cuda:gpu_problem",
    build_probe="..runtime.tensorrt.cuda:gpu_problem",
    costs=COSTS,
    calibrated=("fp16", "int8"),
    options={
        "typing": Option(
            "strong",
            "strong|weak",
            "strong: types are in the file; weak: chosen under flags, before TensorRT 11",
        ),
        "transforms": Option(
            "products",
            "products|native",
            "native: TensorRT's own DFT where it wins, from 11.2",
            {"native": NATIVE},
        ),
    },
    profiles=(PLUGIN,),
    devices={"jetson": None},
)
