"""A real, short training of tiny through rounding."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fdikp_edge.calibration.table import CalibrationTable
from fdikp_edge.export.calibrate import calibrate
from fdikp_edge.export.lowered import lower_model
from fdikp_edge.models import zoo
from fdikp_edge.models.checkpoint import read_checkpoint
from PIL import Image

SIDE = 256


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "table.json"
    model = lower_model(zoo.load("tiny"), (SIDE, SIDE), name="tiny", contract="float_nchw", profile="onnx")
    calibrated: CalibrationTable = calibrate(model, count=2, guarded=False)
    calibrated.write(path)
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(3):
        coarse = np.random.default_rng(number).integers(0, 256, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((720, 720), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return folder


def run(table: Path, photos: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "fdikp_edge.calibration.training", "--table", str(table)]
    options = ["--steps", "2", "--save-every", "1", "--held-out", "1", "--threads", "1", "--workers", "0"]
    where = ["--photos", str(photos), "--out", str(out)]
    return subprocess.run(
        [*program, *options, *where, *more], capture_output=True, text=True, timeout=600, check=False
    )


def losses(out: Path) -> list[tuple[str, str]]:
    with (out / "steps.csv").open(newline="", encoding="utf-8") as file:
        return [(row["step"], row["loss"]) for row in csv.DictReader(file)]


def test_a_run_leaves_weights_and_a_record(table: Path, photos: Path, tmp_path: Path) -> None:
    done = run(table, photos, tmp_path, "--blend", "0.5")
    assert done.returncode == 0, done.stderr
    assert [step for step, _ in losses(tmp_path)] == ["1", "2"]
    assert zoo.weights_sha256(zoo.load(tmp_path / "weights.safetensors")) != zoo.weights_sha256(
        zoo.load("tiny")
    )
    average = read_checkpoint(tmp_path / "state.safetensors").tensors
    former = zoo.load("tiny").state_dict()
    for name, value in zoo.load(tmp_path / "blended.safetensors").state_dict().items():
        torch.testing.assert_close(value, (average[f"average/{name}"] + former[name]) / 2)
    assert json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))["steps_done"] == 2


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--target", "openvino"), "has no layers for openvino"),
        (("--model", "small"), "calibrate again"),
        (("--rate", "2"), "--rate must be"),
        (("--threads", "0"), "at least 1"),
        (("--patterns", "2"), "--patterns must be from 0 to 1"),
        (("--blend", "0"), "--blend above 0"),
    ],
)
def test_bad_input_is_one_sentence(
    more: tuple[str, ...], words: str, table: Path, photos: Path, tmp_path: Path
) -> None:
    done = run(table, photos, tmp_path / "out", *more)
    assert done.returncode in (1, 2) and words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr and not (tmp_path / "out").exists()
