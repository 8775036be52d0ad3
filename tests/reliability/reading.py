"""How each kind of outside file is read, and why what was read is not what the file says."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np


def _same(expected: Any, got: Any) -> str:
    return "" if expected == got else f"read as {got!r:.200}, which the file does not say"


def read_tensors(path: Path) -> Any:
    from fdikp_edge.models.checkpoint import read_tensors

    return read_tensors(path).tensors


def judge_safetensors(path: Path, tensors: Any) -> str:
    import torch

    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    if header.keys() != tensors.keys():
        return f"keys {sorted(tensors)}"
    for key, entry in header.items():
        begin, end = (8 + length + at for at in entry["data_offsets"])
        stored = tensors[key].contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        if list(tensors[key].shape) != entry["shape"] or stored != data[begin:end]:
            return f"{key}: other values than the file's"
    return ""


def judge_pth(path: Path, tensors: Any) -> str:
    import torch

    plain = all(
        t.layout == torch.strided and t.untyped_storage().nbytes() < 1 << 28 for t in tensors.values()
    )
    return "" if plain else "no plain tensors"


def _specs() -> Any:
    from fdikp_edge.models.sources.base import TensorSpec

    return (TensorSpec("x", (1, 3, 8, 8)),)


def read_sample(path: Path) -> Any:
    from fdikp_edge.models.sources.samples import read_sample

    return read_sample(path, _specs())["x"]


def judge_array(path: Path, result: Any) -> str:
    if result.shape != (1, 3, 8, 8) or result.dtype != np.float32:
        return f"{result.dtype}{result.shape}"
    try:
        stored = np.load(path, allow_pickle=False)
        with np.errstate(all="ignore"):
            stored = np.asarray(stored["x"] if path.suffix == ".npz" else stored).astype(np.float32)
    except Exception:
        return ""  # NumPy is stricter here: an archive's checksum, white space in a header
    return "" if np.array_equal(stored.reshape(-1), result.reshape(-1), equal_nan=True) else "other values"


def open_artifact(path: Path) -> Any:
    from fdikp_edge.runtime.artifact import Artifact

    return Artifact.open(path)


def judge_passport(path: Path, artifact: Any) -> str:
    stored = json.loads((path / "passport.json").read_bytes())
    read = json.loads(artifact.passport.to_json())
    read.pop("passport_sha256")  # 1 and 1.0 have two digests
    wrong = [key for key in stored if key in read and stored[key] != read[key]]
    return f"{wrong} read as {[read[key] for key in wrong]!r:.300}" if wrong else ""


def run_artifact(path: Path) -> Any:
    from fdikp_edge.runtime.artifact import Artifact
    from fdikp_edge.runtime.sessions import open_session

    artifact = Artifact.open(path)
    inputs, _ = artifact.golden()
    with open_session(artifact, threads=1) as session:
        return artifact, session.run(inputs)


def judge_run(path: Path, result: Any) -> str:
    artifact, outputs = result
    for contract in artifact.passport.outputs:
        value = outputs[contract.name]
        if value.shape != tuple(contract.shape) or str(value.dtype) != contract.dtype:
            return f"{contract.name}: {value.dtype}{value.shape}"
    return ""


def golden(path: Path) -> Any:
    return open_artifact(path).golden()


def judge_golden(path: Path, result: Any) -> str:
    try:
        stored = np.load(path / "golden_input.npy", allow_pickle=False)
    except ValueError:
        return ""  # NumPy takes no other white space than a space in a header
    (read,) = result[0].values()
    return "" if np.array_equal(stored, read) else "other values"


def load_network(path: Path) -> Any:
    from fdikp_edge.models.sources.find import find

    return find(str(path)).load()


def lower(path: Path) -> Any:
    from fdikp_edge.export.onnx.source.source import load_onnx_source

    source = load_onnx_source(path)
    return source.check().state


def interpret(path: Path) -> Any:
    from fdikp_edge.runtime.mil import Interpreter, Package

    return Interpreter(Package.open(path)).run({"x": np.ones((1, 3, 6, 6), np.float32)})


def read_table(path: Path) -> Any:
    from fdikp_edge.calibration.table import read_table

    return read_table(path)


def judge_table(path: Path, table: Any) -> str:
    again = path.with_name("again.json")
    try:
        table.write(again)
        return "" if read_table(again) == table else "written and read again it is another"
    finally:
        again.unlink(missing_ok=True)


def read_report(path: Path) -> Any:
    from fdikp_edge.benchmarks.report import html
    from fdikp_edge.benchmarks.report.read import read_report

    report = read_report(path)
    return report, html.render(report)


def judge_report(path: Path, result: Any) -> str:
    report, page = result
    if "<script>alert" in page or "\x1b" in page:
        return "its page holds what the file says as markup"
    return _same(json.loads(path.read_bytes()), report)


def read_baseline(path: Path) -> Any:
    from fdikp_edge.benchmarks.gate.baseline import read_baseline

    return read_baseline(path)


def judge_baseline(path: Path, baseline: Any) -> str:
    stored, read = json.loads(path.read_bytes()), json.loads(baseline.to_json())
    read["fdikp_edge"] = stored["fdikp_edge"]  # who wrote it; nothing depends on that
    return _same(stored, read)


def read_bundle(path: Path) -> Any:
    from fdikp_edge.runtime.device.bundle import Bundle, check_bundle

    manifest = check_bundle(path)
    bundle = Bundle.open(path, path.parent / "output")
    bundle.photo()
    return manifest, bundle.artifacts()


def judge_bundle(path: Path, result: Any) -> str:
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
        return _same(json.loads(archive.read("manifest.json")), result[0])


def read_recording(path: Path) -> Any:
    from fdikp_edge.benchmarks.telemetry.tegrastats import read_recording

    return [reading.to_dict() for reading in read_recording(path)]


def judge_recording(path: Path, readings: Any) -> str:
    try:
        json.dumps(readings, allow_nan=False)
    except ValueError as error:
        return f"no strict JSON: {error}"
    return ""


def read_photo(path: Path) -> Any:
    from fdikp_edge.runtime.images import read_photo

    return read_photo(path)


def judge_photo(path: Path, photo: Any) -> str:
    from PIL import Image

    with Image.open(path) as image:
        size = image.size
    height, width = photo.pixels.shape[:2]
    if (width, height) not in (size, size[::-1]) or photo.pixels.dtype not in (np.uint8, np.uint16):
        return f"{photo.pixels.dtype}{photo.pixels.shape} of a picture of {size}"
    return ""


def read_map(path: Path) -> Any:
    from fdikp_edge.benchmarks.accuracy.error_map import read_map

    return read_map(path)
