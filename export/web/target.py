"""The row of the ``web`` target."""

from __future__ import annotations

from ...runtime.installed.packages import Requirement
from ..onnx.target import BUILD_NEEDS, COSTS
from ..options import Option
from ..target import Target
from .runtime_files import NPM

PLAYWRIGHT = Requirement(
    "playwright",
    "playwright",
    "1.50",
    extra="web",
    use="running web artifacts in Chromium",
)

WEB = Target(
    name="web",
    title="Page for browsers, on ONNX Runtime Web",
    model_file="model.onnx",
    precisions=("fp32", "fp16", "int8"),
    builder=".web.build:build",
    build_needs=BUILD_NEEDS,
    run_needs=(PLAYWRIGHT,),
    build_probe=".web.runtime_files:npm_problem",
    unasked_probe=".web.runtime_files:download_problem",
    run_probe="..runtime.web.browser:browser_problem",
    costs=COSTS,  # the same kernels, compiled to WebAssembly
    gain="verifies web artifacts in a real browser",
    not_offered={"bf16": "neither WebAssembly nor WebGPU has bfloat16"},
    calibrated=("fp16", "int8"),
    options={
        "provider": Option(
            "wasm",  # nothing has run on WebGPU with a graphics processor, see docs/web.md
            "wasm|webgpu|auto",
            "auto: WebGPU where a graphics processor offers it, else WASM; not yet run on one",
        ),
        "runtime": Option(
            NPM,
            "[^;\x00]{1,4096}",
            "folder with the files of onnxruntime-web; npm: fetched through npm and cached",
            instead_of_probe=True,
        ),
    },
)
