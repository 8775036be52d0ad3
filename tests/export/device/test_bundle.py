"""Making a bundle: what goes in, what is refused, and that the same artifacts give the same bytes."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_bundle as maker
from fdikp_edge.export.device.bundle import make_bundle
from fdikp_edge.export.device.wheel import device_wheel
from fdikp_edge.runtime.artifact import Artifact, ArtifactWriter
from fdikp_edge.runtime.device.bundle import Bundle, check_bundle
from fdikp_edge.runtime.errors import (
    ArtifactError,
    BadInputError,
    BundleError,
    CalibrationError,
    LoweringError,
    OutputError,
    UnknownNameError,
)
from fdikp_edge.runtime.images import read_photo
from fdikp_edge.runtime.samples import defocused_photo
from fdikp_edge.runtime.sessions import open_session


def test_a_bundle_holds_what_the_issue_of_one_asks_for(small_bundle: Path, tmp_path: Path) -> None:
    manifest = check_bundle(small_bundle)
    with zipfile.ZipFile(small_bundle) as archive:
        names = archive.namelist()
        assert names[0] == "__main__.py" and set(names) == {*manifest["files"], "manifest.json"}
        licence = archive.read("photo/LICENSE.txt").decode("utf-8")
    for name in ("half-onnx-fp32", "half-onnx-int8"):
        folder = f"artifacts/{name}/"
        files = ("model.onnx", "golden_input.npy", "golden_output.npy", "passport.json")
        assert {folder + file for file in files} <= set(names)
    assert licence == (defocused_photo().parent / "LICENSE.txt").read_text(encoding="utf-8")
    photo = Bundle.open(small_bundle, tmp_path / "cache").photo().pixels
    assert (photo == read_photo(defocused_photo()).pixels).all(), "there is something to see in the result"
    assert manifest["wheel"].startswith("wheel/fdikp_edge-") and manifest["wheel"].endswith("-none-any.whl")
    assert not [name for name in names if name.endswith((".pkl", ".pt", ".pth", ".pyc"))]


def test_the_same_artifacts_give_the_same_bytes(tmp_path: Path) -> None:
    artifacts = [maker.make(tmp_path, precision) for precision in ("fp32", "int8")]
    first, second = (make_bundle(artifacts, tmp_path / name) for name in ("a", "b"))
    assert first.sha256 == second.sha256
    assert first.path.read_bytes() == second.path.read_bytes() and first.bytes == first.path.stat().st_size


def test_8_bit_values_become_signed_and_stand_for_the_same_numbers(
    small_bundle: Path, tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx")
    before = Artifact.open(maker.make(tmp_path, "int8"))
    (after,) = Bundle.open(small_bundle, tmp_path / "cache").artifacts(precisions=["int8"])
    types = {
        t.data_type for t in onnx.load(after.model_path).graph.initializer if not t.dims or t.dims == [1]
    }
    assert onnx.TensorProto.UINT8 not in types and onnx.TensorProto.INT8 in types
    image = (np.random.default_rng(0).random(maker.SHAPE) * 3 - 1.5).astype(np.float32)  # saturates both ways
    with open_session(before, threads=1) as old, open_session(after, threads=1) as new:
        assert (old.run(image) == new.run(image)).all()
    assert after.passport.state == "unverified" and any("signed" in note for note in after.passport.notes)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_constants_in_fewer_bytes_are_plain_for_a_device(precision: str, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from fdikp_edge.export.onnx.storage import store

    plain = Artifact.open(maker.make(tmp_path / "plain", precision))
    model = onnx.load(plain.model_path)
    half = next(t for t in model.graph.initializer if t.name == "half")
    matrix = np.where(np.random.default_rng(0).random(maker.SHAPE) < 0.5, 0.5, 0.25).astype(np.float32)
    half.CopyFrom(onnx.numpy_helper.from_array(matrix, "half"))
    assert len(store(model)) == 1
    with ArtifactWriter(tmp_path / "stored") as writer:
        onnx.save(model, writer.folder / "model.onnx")
        for name in plain.passport.golden_files:
            shutil.copyfile(plain.path / name, writer.folder / name)
        stored = writer.commit(plain.passport)
    bundle = make_bundle([stored.path], tmp_path / "a.bundle")
    (after,) = Bundle.open(bundle.path, tmp_path / "cache").artifacts()
    graph = onnx.load(after.model_path).graph
    assert "Gather" not in {node.op_type for node in graph.node}
    (constant,) = (t for t in graph.initializer if t.name == "half")
    assert onnx.numpy_helper.to_array(constant).tobytes() == matrix.tobytes()
    assert any("stored uncompressed here" in note for note in after.passport.notes)
    image = np.random.default_rng(1).random(maker.SHAPE, dtype=np.float32)
    with open_session(stored, threads=1) as old, open_session(after, threads=1) as new:
        assert (old.run(image) == new.run(image)).all()


def test_values_that_cannot_be_signed_are_refused(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from fdikp_edge.export.onnx.signed_weights import signed

    model = onnx.load(maker.make(tmp_path, "int8") / "model.onnx")
    zero = next(t for t in model.graph.initializer if t.name == "zero")
    zero.CopyFrom(onnx.numpy_helper.from_array(np.array(3, np.uint8), "zero"))
    with pytest.raises(LoweringError, match="zero point 3"):
        signed(model)
    model = onnx.load(tmp_path / "half-onnx-int8" / "model.onnx")
    model.graph.node.append(onnx.helper.make_node("Identity", ["q"], ["raw"], name="peeks"))
    with pytest.raises(LoweringError, match="peeks"):
        signed(model)


def _with_model(path: Path, model: bytes, dest: Path) -> Path:
    """Write the artifact again with another model in it; its passport says so."""
    with ArtifactWriter(dest) as writer:
        for name in Artifact.open(path).passport.files:
            shutil.copyfile(path / name, writer.folder / name)
        (writer.folder / "model.onnx").write_bytes(model)
        return writer.commit(Artifact.open(path).passport).path


def test_refusals(tmp_path: Path) -> None:
    good = maker.make(tmp_path / "one")
    out = tmp_path / "x.bundle"
    with pytest.raises(UnknownNameError, match="jetson"):
        make_bundle([good], out, device="toaster")
    with pytest.raises(BadInputError, match="at least one artifact"):
        make_bundle([], out)
    with pytest.raises(ArtifactError):
        make_bundle([tmp_path / "nothing"], out)
    with pytest.raises(BadInputError, match="same name"):
        make_bundle([good, maker.make(tmp_path / "two")], out)
    with pytest.raises(BadInputError, match="is for target openvino"):
        make_bundle([maker.make(tmp_path, target="openvino")], out)
    failed = Artifact.open(maker.make(tmp_path / "bad")).amend(state="failed", reason="too far off")
    with pytest.raises(BadInputError, match="too far off"):
        make_bundle([failed.path], out)
    with pytest.raises(CalibrationError):
        make_bundle([good], out, tables=[good / "passport.json"])
    with pytest.raises(BundleError, match=r"model\.onnx: is not a usable ONNX file"):
        make_bundle([_with_model(good, b"\xff\xff not ONNX", tmp_path / "half-onnx-other")], out)
    assert not out.exists()
    out.write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        make_bundle([good], out)
    assert out.read_text() == "mine"
    assert make_bundle([good], out, overwrite=True).artifacts == ("half-onnx-fp32",)


def test_a_table_that_fits_goes_along_and_another_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from fdikp_edge.calibration.fp16_islands import HalfPlan
    from fdikp_edge.calibration.table import CalibrationTable, ProgramCalibration

    section = ProgramCalibration({}, (), HalfPlan({}, (), 90.0, 60.0))
    table = CalibrationTable("half", "a" * 64, (32, 32), {}, {("d" * 64, "onnx"): section})
    table.write(tmp_path / "table.json")
    stranger = maker.make(tmp_path / "stranger", "int8")
    with pytest.raises(BadInputError, match="none of these artifacts"):
        make_bundle([stranger], tmp_path / "x.bundle", tables=[tmp_path / "table.json"])
    passport = json.loads((stranger / "passport.json").read_text())
    passport["calibration_sha256"] = table.sha256
    own = _with_passport(stranger, passport)
    bundle = make_bundle([own], tmp_path / "y.bundle", tables=[tmp_path / "table.json"])
    assert f"calibration/{table.sha256[:16]}.json" in check_bundle(bundle.path)["files"]


@pytest.mark.parametrize(
    ("profiles", "ranges"),
    [(["onnx"], 1.0), (["tensorrt"], 2.0), (["onnx", "tensorrt"], 2.0), (["coreml"], None)],
)
def test_a_float32_artifact_takes_along_the_ranges_of_tensorrt_or_else_of_its_own_target(
    profiles: list[str], ranges: float | None, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    from fdikp_edge.calibration.fp16_islands import HalfPlan
    from fdikp_edge.calibration.ranges import SCHEMES, Statistics
    from fdikp_edge.calibration.table import CalibrationTable, ProgramCalibration

    sections = {}
    for profile in profiles:
        peak = 127.0 * (2 if profile == "tensorrt" else 1)
        seen = Statistics(0.0, peak, 64.0, 70.0, 10, dict.fromkeys(SCHEMES, peak), 40.0)
        sections["b" * 64, profile] = ProgramCalibration({"mul": seen}, (), HalfPlan({}, (), 90.0, 60.0))
    CalibrationTable("half", "a" * 64, (32, 32), {}, sections).write(tmp_path / "table.json")
    source, out = maker.make(tmp_path), tmp_path / "x.bundle"
    if ranges is None:
        with pytest.raises(BadInputError, match="none of these artifacts"):
            make_bundle([source], out, tables=[tmp_path / "table.json"])
        return
    make_bundle([source], out, tables=[tmp_path / "table.json"])
    with zipfile.ZipFile(out) as archive:
        cache = archive.read("artifacts/half-onnx-fp32/calibration.cache").decode("ascii").splitlines()
    (scale,) = struct.unpack(">f", bytes.fromhex(cache[1].split(": ")[1]))
    assert scale == ranges


def _with_passport(folder: Path, content: dict[str, Any]) -> Path:
    from fdikp_edge.runtime import strict_json

    content.pop("passport_sha256")
    content["passport_sha256"] = strict_json.digest(content)
    (folder / "passport.json").write_text(json.dumps(content))
    return folder


def test_the_wheel_installs_alone(tmp_path: Path) -> None:
    name, data = device_wheel()
    (tmp_path / name).write_bytes(data)
    site = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(site)]
    subprocess.run([*command, str(tmp_path / name)], check=True, timeout=300)
    script = (
        "import sys; sys.meta_path = [f for f in sys.meta_path if 'editable' not in str(f).lower()];"
        f"sys.path.insert(0, {str(site)!r});"
        "import fdikp_edge.cli.device.program, importlib.metadata as m; print(m.version('fdikp-edge'));"
        "print(sorted({'torch', 'onnx', 'PIL', 'typer', 'rich', 'onnxruntime'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["0.1.0+device", "[]"]
