"""A right file for each reader of outside files, and its hashes made right again after damage."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import small_bundle


def _tensors() -> dict[str, Any]:
    import torch

    generator = torch.Generator().manual_seed(0)
    return {
        "body.0.weight": torch.randn(4, 3, 3, 3, generator=generator),
        "body.0.bias": torch.randn(4, generator=generator).half(),
        "steps": torch.arange(5),
    }


def safetensors(folder: Path) -> Path:
    from safetensors.torch import save

    path = folder / "x.safetensors"
    path.write_bytes(save(_tensors(), {"note": "a word"}))
    return path


def pth(folder: Path) -> Path:
    import torch

    path = folder / "x.pth"
    torch.save({"state_dict": _tensors(), "epoch": 3}, path)
    return path


def _array() -> Any:
    return np.linspace(0, 1, 192, dtype=np.float32).reshape(1, 3, 8, 8)


def npy(folder: Path) -> Path:
    np.save(folder / "x.npy", _array())
    return folder / "x.npy"


def npz(folder: Path) -> Path:
    np.savez(folder / "x.npz", x=_array())
    return folder / "x.npz"


def artifact(folder: Path) -> Path:
    return small_bundle.make(folder).rename(folder / "a")


def int8_artifact(folder: Path) -> Path:
    return small_bundle.make(folder, "int8").rename(folder / "a")


def openvino_artifact(folder: Path) -> Path:
    import openvino

    place = artifact(folder)
    model = openvino.Core().read_model(place / "model.onnx")
    (place / "model.onnx").unlink()
    openvino.save_model(model, place / "model.xml", compress_to_fp16=False)
    passport = json.loads((place / "passport.json").read_bytes())
    del passport["files"]["model.onnx"]
    passport["files"] |= {"model.xml": {}, "model.bin": {}}
    passport |= {"target": "openvino", "model_file": "model.xml"}
    (place / "passport.json").write_text(json.dumps(passport))
    rehash(place, random.Random(0))
    return place


def old_artifact(folder: Path) -> Path:
    from fdikp_edge.runtime.artifact import Artifact

    place = artifact(folder)
    passport = dataclasses.replace(Artifact.open(place).passport, format_version=1)
    (place / "passport.json").write_bytes(passport.to_json())
    return place


def rehash(place: Path, rng: random.Random) -> None:
    """Make the hashes in a passport those of its files and of itself, as whoever owns a folder can."""
    from fdikp_edge.runtime import strict_json

    file = place / "passport.json"
    try:
        passport = json.loads(file.read_bytes())
        for name in passport["files"]:
            data = (place / name).read_bytes()
            passport["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    except (KeyError, TypeError, OSError, ValueError, RecursionError):
        return  # damaged where hashes stand: as it is
    _sign_json(file, passport, "passport_sha256", strict_json.digest)


def _sign_json(file: Path, value: Any, key: str, digest: Callable[[Any], str]) -> None:
    if isinstance(value, dict):
        value.pop(key, None)
        try:
            value[key] = digest(value)
        except ValueError:
            value[key] = "0" * 64
    file.write_text(json.dumps(value))


def resign(place: Path, rng: random.Random) -> None:
    """Make a changed passport's own hash right again, in three of four cases."""
    from fdikp_edge.runtime import strict_json

    file = place / "passport.json"
    if rng.random() < 0.75:
        try:
            value = json.loads(file.read_bytes())
        except (ValueError, RecursionError):
            return
        _sign_json(file, value, "passport_sha256", strict_json.digest)


def onnx(folder: Path) -> Path:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Conv", ["x", "weight"], ["y"], pads=[1, 1, 1, 1]),
        helper.make_node("Reshape", ["y", "sides"], ["z"]),
        helper.make_node("DFT", ["z"], ["spectrum"], axis=1, onesided=1),
    ]
    weights = {
        "weight": np.random.default_rng(0).standard_normal((1, 1, 3, 3)).astype(np.float32),
        "sides": np.array([1, 8, 8, 1]),
    }
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 8, 8])],
        [helper.make_tensor_value_info("spectrum", TensorProto.FLOAT, [1, 5, 8, 2])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), folder / "x.onnx")
    return folder / "x.onnx"


def pt2(folder: Path) -> Path:
    import torch

    class Net(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.fft.irfft2(torch.fft.rfft2(x) * 0.5, s=(8, 8))

    torch.export.save(torch.export.export(Net(), (torch.rand(1, 3, 8, 8),)), folder / "x.pt2")
    return folder / "x.pt2"


def package(folder: Path) -> Path:
    import coremltools as ct
    from coremltools.converters.mil import Builder as mb
    from fdikp_edge.export.coreml.build import quiet, write_package

    weight = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)

    @mb.program(input_specs=[mb.TensorSpec((1, 3, 6, 6))], opset_version=ct.target.iOS17)
    def network(x: Any) -> Any:
        y = mb.conv(x=x, weight=weight, pad_type="same", name="filtered")
        return mb.split(x=mb.relu(x=y), num_splits=2, axis=1, name="halves")

    with quiet():
        model = ct.convert(
            network,
            convert_to="mlprogram",
            minimum_deployment_target=ct.target.iOS17,
            skip_model_load=True,
        )
    write_package(model, folder / "m.mlpackage", {"compute_units": "ALL"})
    return folder / "m.mlpackage"


def table(folder: Path) -> Path:
    from fdikp_edge.calibration.fp16_islands import HalfPlan
    from fdikp_edge.calibration.ranges import SCHEMES, Statistics
    from fdikp_edge.calibration.table import CalibrationTable, ProgramCalibration

    values = Statistics(0.0, 127.0, 64.0, 70.0, 10, dict.fromkeys(SCHEMES, 127.0), 40.0)
    section = ProgramCalibration({"x": values}, (), HalfPlan({"mul": "a reason"}, (), 90.0, 60.0))
    table = CalibrationTable("half", "a" * 64, (32, 32), {}, {("b" * 64, "onnx"): section})
    table.write(folder / "x.json")
    return folder / "x.json"


def report(folder: Path) -> Path:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
    from report_data import report

    path = folder / "report.json"
    path.write_text(json.dumps(report()))
    return path


def baseline(folder: Path) -> Path:
    from fdikp_edge.benchmarks.gate.baseline import Baseline, Figures

    figures = Figures(
        target="onnx",
        precision="fp32",
        weights_sha256="a" * 64,
        program_sha256="b" * 64,
        max_abs=1e-6,
        psnr_db=120.0,
        ssim=1.0,
        model_bytes=1000,
        peak_mb=90.0,
        precision_census={"float32": 4},
        toolchain={"onnx": "1.18"},
        passport_files={"model.onnx": "c" * 64},
    )
    path = folder / "x.json"
    path.write_text(Baseline({"half-onnx-fp32-32x32": figures}).to_json())
    return path


def bundle(folder: Path) -> Path:
    from fdikp_edge.export.device.bundle import make_bundle

    artifact = small_bundle.make(folder / "source")
    return make_bundle([artifact], folder / "x.bundle").path


def rehash_bundle(members: dict[str, bytes]) -> None:
    from fdikp_edge.runtime.device import entry

    try:
        manifest = json.loads(members[entry.MANIFEST])
        for name in manifest["files"]:
            data = members[name]
            manifest["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    except (KeyError, TypeError, ValueError, RecursionError):
        pass
    try:
        manifest = manifest if "manifest" in locals() else json.loads(members[entry.MANIFEST])
        manifest["manifest_sha256"] = entry.manifest_digest(manifest)
        members[entry.MANIFEST] = json.dumps(manifest).encode()
    except (KeyError, TypeError, ValueError, RecursionError, AttributeError):
        pass


_LINE = (
    "11-29-2026 10:00:0{0} RAM 6185/7620MB (lfb 4x2MB) SWAP 10/3810MB (cached 1MB) "
    "CPU [5%@729,off,7%@729,0%@1510] EMC_FREQ 3%@2133 GR3D_FREQ 0%@[305] cpu@45.3C soc2@43.1C tj@46.2C "
    "VDD_IN 4{0}00mW/4500mW VDD_CPU 500/510\n"
)


def recording(folder: Path) -> Path:
    (folder / "x.log").write_text("".join(_LINE.format(second) for second in range(8)))
    return folder / "x.log"


def photo(suffix: str, bits: int) -> Callable[[Path], Path]:
    def seed(folder: Path) -> Path:
        from fdikp_edge.runtime.images import Photo, write_photo

        rng = np.random.default_rng(0)
        coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        pixels = coarse if bits == 8 else coarse.astype(np.uint16) * 257
        write_photo(folder / f"x{suffix}", Photo(pixels=pixels))
        return folder / f"x{suffix}"

    return seed


def pillow(suffix: str, mode: str, **options: Any) -> Callable[[Path], Path]:
    def seed(folder: Path) -> Path:
        from PIL import Image

        rng = np.random.default_rng(0)
        image = Image.fromarray(rng.integers(0, 256, (40, 56, 4), dtype=np.uint8), "RGBA").convert(mode)
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(folder / f"x{suffix}", exif=exif, **options)
        return folder / f"x{suffix}"

    return seed


def error_map(folder: Path) -> Path:
    from fdikp_edge.benchmarks.accuracy.error_map import write_map

    write_map(np.random.default_rng(0).random((20, 30)), folder / "x.png")
    return folder / "x.png"
