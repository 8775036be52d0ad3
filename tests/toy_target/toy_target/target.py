"""The row, which the entry point in pyproject.toml refers to. It imports no runtime and no torch."""

from __future__ import annotations

from fdikp_edge.export.profile import Profile
from fdikp_edge.export.target import Target
from fdikp_edge.runtime.installed.packages import ONNX, ONNXSCRIPT, TORCH, Requirement

RUNTIME = Requirement("onnxruntime", "onnxruntime", "1.23", use="running toy artifacts")

TOY = Target(
    name="toy",
    title="Toy, an ONNX graph under another name",
    model_file="network.toy",
    precisions=("fp32",),
    builder="toy_target.build:build",
    build_needs=(TORCH, ONNX, ONNXSCRIPT),
    run_needs=(RUNTIME, Requirement("toy_target", "toy-target", "1.0", use="the toy runtime")),
    run_remark="by a toy",
    costs=Profile("toy", macs_per_us=50_000, moved_per_us=2_000, operator_us=10),
    session="toy_target.session:ToySession",
)
