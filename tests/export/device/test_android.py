"""The Android bundle: its files, and its scripts against an `adb` that is a folder of this machine.

No phone and no `benchmark_model` is here: the stand-in for it copies a prepared output and prints the line of
its log that holds the time. So these tests hold the plumbing, and nothing about Android.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from fdikp_edge.export.device.bundle import make_bundle
from fdikp_edge.runtime.artifact import Artifact, ArtifactWriter
from fdikp_edge.runtime.errors import BadInputError
from fdikp_edge.runtime.passport import Passport
from fdikp_edge.runtime.tensors import TensorContract

DATA = Path(__file__).parents[2] / "runtime" / "outside" / "data"
SHAPE = (1, 3, 8, 8)

ADB = """#!/bin/sh
case $1 in
  get-state) echo device ;;
  push) cp -R "$2" "$PHONE$3" ;;
  pull) cp "$PHONE$2" "$3" ;;
  shell) sh -c "$(printf '%s' "$2" | sed "s#/data/#$PHONE/data/#g")" ;;
esac
"""
TOOL = """#!/bin/sh
for word in "$@"; do
  case $word in
    --output_filepath=*) cp "$RESULT" "${word#*=}" ;;
    --graph=*) [ -f "${word#*=}" ] || exit 3 ;;
    --input_layer_value_files=*) [ "$(wc -c <"${word##*:}")" -eq 768 ] || exit 4 ;;
  esac
done
echo "Inference timings in us: Init: 9, First inference: 2500, Warmup (avg): 9, Inference (avg): 1234.5"
"""


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    golden = np.load(DATA / "small.npz")
    ends = [TensorContract(name=name, shape=SHAPE, dtype="float32") for name in ("image", "out")]
    with ArtifactWriter(tmp_path / "net-litert-fp32") as writer:
        shutil.copy(DATA / "small.tflite", writer.folder / "model.tflite")
        np.save(writer.folder / "golden_input.npy", golden["x"])
        np.save(writer.folder / "golden_output.npy", golden["y"])
        return writer.commit(
            Passport(
                model="net",
                weights_sha256="a" * 64,
                program_sha256="b" * 64,
                target="litert",
                precision="fp32",
                inputs=(ends[0],),
                outputs=(ends[1],),
                model_file="model.tflite",
                golden={"inputs": ["golden_input.npy"], "outputs": ["golden_output.npy"]},
                reason="not verified yet",
            )
        )


def test_the_same_artifacts_give_the_same_archive(artifact: Artifact, tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        make_bundle([artifact.path], tmp_path / name, device="android")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        folder = "models/net-litert-fp32"
        golden = np.load(DATA / "small.npz")
        assert archive.read(f"{folder}/input_0.bin") == golden["x"].tobytes()
        assert archive.read(f"{folder}/model.tflite") == (artifact.path / "model.tflite").read_bytes()
        (line,) = archive.read("models.tsv").decode().splitlines()
    assert line.split("\t")[2:5] == ["--use_xnnpack=true", "image", "1,3,8,8"]


def test_a_calibration_table_makes_no_sense(artifact: Artifact, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="takes no calibration table"):
        make_bundle([artifact.path], tmp_path / "a.zip", device="android", tables=["table.json"])


@pytest.mark.skipif(
    os.name == "nt" or shutil.which("sha256sum") is None, reason="the script needs a Unix shell"
)
@pytest.mark.parametrize("damage", [0.0, 0.5])
def test_the_scripts_push_measure_and_report(artifact: Artifact, tmp_path: Path, damage: float) -> None:
    make_bundle([artifact.path], tmp_path / "a.zip", device="android")
    home, phone = tmp_path / "bundle", tmp_path / "phone"
    (phone / "data" / "local" / "tmp").mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        archive.extractall(home)
    for name, text in (("adb", ADB), ("benchmark_model", TOOL)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "result.bin").write_bytes((np.load(DATA / "small.npz")["y"] + np.float32(damage)).tobytes())
    variables = {
        **os.environ,
        "ADB": str(tmp_path / "adb"),
        "BENCHMARK_MODEL": str(tmp_path / "benchmark_model"),
        "PHONE": str(phone),
        "RESULT": str(tmp_path / "result.bin"),
    }
    done = subprocess.run(["sh", str(home / "measure.sh")], env=variables, capture_output=True, text=True)
    assert done.returncode == 0, (
        done.stderr
    )  # an artifact that was never verified has no figure to hold it to
    report = json.loads((home / "results" / "report.json").read_text())
    (model,) = report["models"]
    assert model["milliseconds"] == 1.2345 and model["first_milliseconds"] == 2.5
    assert (model["psnr_db"] > 100) == (damage == 0.0)
    assert not list((phone / "data" / "local" / "tmp").iterdir()), "nothing stays on the phone"
    (home / "models" / "net-litert-fp32" / "model.tflite").write_bytes(b"x")
    done = subprocess.run(["sh", str(home / "measure.sh")], env=variables, capture_output=True, text=True)
    assert done.returncode == 2 and "damaged" in done.stderr
