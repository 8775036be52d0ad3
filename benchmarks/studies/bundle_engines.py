"""What TensorRT-RTX makes of every file in a bundle, on a machine without a GPU.

    python -m fdikp_edge.benchmarks.studies.bundle_engines model.bundle --capability 8.6

For each artifact: the size of its engine, the types that its layers read (from the log of the builder; an
engine itself tells them only on a GPU), and the parity of the file that it is built from, in ONNX Runtime
with every 16-bit float rounded (:mod:`~fdikp_edge.runtime.sessions.onnx_rounding`). Whether an engine does
this, and how fast, only a GPU tells.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from ...runtime import program
from ...runtime.artifact import Artifact
from ...runtime.device.build import Settings, build
from ...runtime.device.build_log import BuildLog
from ...runtime.device.bundle import Bundle
from ...runtime.sessions.base import Arrays, Session, import_runtime
from ...runtime.tensorrt.engines import Capability, parse_capability
from ...runtime.tensorrt.features import MODULES, features_of_module
from .. import script
from ..accuracy.parity import verify_golden
from ..timing.machine import machine_info


class EmulatedSession(Session):
    """An artifact's ONNX file in ONNX Runtime, every 16-bit float rounded as a device does."""

    def __init__(self, artifact: Artifact, threads: int = 1) -> None:
        """Rewrite the file in memory, and open it with all optimisations off."""
        import onnx
        import onnxruntime

        from ...runtime.sessions.onnx_rounding import round_values

        super().__init__(artifact, threads)
        model = onnx.load_from_string(artifact.read(artifact.passport.model_file))
        self.rounded = round_values(model)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def _run(self, arrays: Arrays) -> Arrays:
        names = [contract.name for contract in self.outputs]
        return dict(zip(names, self._session.run(names, arrays), strict=True))

    def describe(self) -> dict[str, str | int]:
        """Say what runs."""
        return {"runtime": "ONNX Runtime", "arithmetic": f"{self.rounded} values rounded to 16 bits"}

    def close(self) -> None:
        """Nothing: the model is freed with the session."""


def measure(bundle: Bundle, capability: Capability) -> list[dict[str, Any]]:
    """Build every artifact of a bundle, and return a row for each.

    Raises:
        TargetUnavailableError: TensorRT-RTX is not installed.
        ArtifactError, CheckFailedError: it refuses a file, or its builder fails.
    """
    from ...export.tensorrt.layer_report import engine_layers

    trt = import_runtime(MODULES["tensorrt-rtx"], "tensorrt-rtx", 'pip install "fdikp-edge[tensorrt-rtx]"')
    rows = []
    for artifact in bundle.artifacts():
        script.note(f"building {artifact.path.name}")
        onnx = artifact.read(artifact.passport.model_file)
        log = BuildLog()
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / "log"
            with log.all_into(file):
                settings = Settings(capability=capability)
                built = build(trt, features_of_module(trt), onnx, artifact, settings, log=log)
            with file.open(encoding="utf-8") as lines:
                layers = engine_layers(lines)
        with EmulatedSession(artifact) as session:
            parity = verify_golden(session)
        rows.append(
            {
                "artifact": artifact.path.name,
                "onnx_mb": round(len(onnx) / 1e6, 2),
                "engine_mb": round(len(built.engine) / 1e6, 2),
                "layers": dict(Counter(layer.dtype or "none" for layer in layers).most_common()),
                "psnr_db": round(parity.psnr_db, 1),
                "max_abs": parity.max_abs,
                "within_budget": parity.within_budget,
                "rounded_values": session.rounded,
            }
        )
    return rows


def show(result: dict[str, Any]) -> str:
    """Return a result as text."""
    rows = [
        (
            row["artifact"],
            row["onnx_mb"],
            row["engine_mb"],
            ", ".join(f"{count} {kind}" for kind, count in row["layers"].items()),
            row["psnr_db"],
            f"{row['max_abs']:.1e}",
            "yes" if row["within_budget"] else "NO",
        )
        for row in result["rows"]
    ]
    columns = ("artifact", "ONNX MB", "engine MB", "layers by type", "PSNR dB", "max abs", "within budget")
    return script.table(columns, rows)


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m fdikp_edge.benchmarks.studies.bundle_engines",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--capability", type=parse_capability, default=(8, 6), help="of the GPU (8.6)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        rows = measure(Bundle.open(options.bundle, Path(cache) / "c"), options.capability)
    script.finish({"machine": machine_info(), "rows": rows}, options.json, show)


if __name__ == "__main__":
    program.run(main)
