"""The Android bundle: its files, and its scripts against an `adb` that is a folder of this machine.

No phone, no `benchmark_model` and no `executor_runner` is here: the stand-ins for the programs copy a
prepared output and print the lines of their logs that hold times. So these tests hold the plumbing, and
nothing about Android.
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
from fdikp_edge.export.target import Target
from fdikp_edge.export.targets import get_target
from fdikp_edge.runtime.artifact import Artifact, ArtifactWriter
from fdikp_edge.runtime.errors import ArtifactError, BadInputError
from fdikp_edge.runtime.passport import Passport
from fdikp_edge.runtime.tensors import TensorContract

OUTSIDE = Path(__file__).parents[2] / "runtime" / "outside"
DATA = OUTSIDE / "data"
RNG = np.random.default_rng(23)
GOLDEN = {
    "litert": (np.load(DATA / "small.npz")["x"], np.load(DATA / "small.npz")["y"]),
    # The plumbing alone: no program computes this output from this input.
    "executorch": tuple(RNG.random((1, 3, 32, 48), np.float32) for _ in range(2)),
}
MODELS = {"litert": DATA / "small.tflite", "executorch": OUTSIDE / "program.pte"}
TOOLS = {"litert": "benchmark_model", "executorch": "executor_runner"}

ADB = """#!/bin/sh
case $1 in
  get-state) echo device ;;
  push) cp -R "$2" "$PHONE$3" ;;
  pull) cp "$PHONE$2" "$3" ;;
  shell) sh -c "$(printf '%s' "$2" | sed "s#/data/#$PHONE/data/#g")" ;;
esac
"""
BENCHMARK_MODEL = """#!/bin/sh
for word in "$@"; do
  case $word in
    --output_filepath=*) cp "$RESULT.litert" "${word#*=}" ;;
    --graph=*) [ -f "${word#*=}" ] || exit 3 ;;
    --input_layer_value_files=*) [ "$(wc -c <"${word##*:}")" -eq 768 ] || exit 4 ;;
  esac
done
echo "Inference timings in us: Init: 9, First inference: 2500, Warmup (avg): 9, Inference (avg): 1234.5"
"""
EXECUTOR_RUNNER = """#!/bin/sh
for word in "$@"; do
  case $word in
    --model_path=*) [ -f "${word#*=}" ] || exit 3 ;;
    --inputs=*) [ "$(wc -c <"${word#*=}")" -eq 18432 ] || exit 4 ;;
    --output_file=*) cp "$RESULT.executorch" "${word#*=}-0.bin" ;;
    --num_executions=*) runs=${word#*=} ;;
    --method_name=forward) method=yes ;;
  esac
done
[ "$method" ] || exit 5
for run in $(seq "$runs"); do
  echo "Iteration $run of $runs: $((20 - run)).500000 ms"
done >"$PHONE/log.$$"
"""
LOGCAT = """#!/bin/sh
for word in "$@"; do
  case $word in --pid=*) cat "$PHONE/log.${word#*=}" ;; esac
done
"""


def write_artifact(folder: Path, target: str, model: bytes | None = None) -> Artifact:
    ends = [
        TensorContract(name=name, shape=array.shape, dtype="float32")
        for name, array in zip(("image", "out"), GOLDEN[target], strict=True)
    ]
    row = get_target(target)
    with ArtifactWriter(folder / f"net-{target}-fp32") as writer:
        (writer.folder / row.model_file).write_bytes(model or MODELS[target].read_bytes())
        np.save(writer.folder / "golden_input.npy", GOLDEN[target][0])
        np.save(writer.folder / "golden_output.npy", GOLDEN[target][1])
        return writer.commit(
            Passport(
                model="net",
                weights_sha256="a" * 64,
                program_sha256="b" * 64,
                target=target,
                precision="fp32",
                inputs=(ends[0],),
                outputs=(ends[1],),
                model_file=row.model_file,
                golden={"inputs": ["golden_input.npy"], "outputs": ["golden_output.npy"]},
                reason="not verified yet",
            )
        )


@pytest.fixture
def artifacts(tmp_path: Path) -> dict[str, Artifact]:
    return {target: write_artifact(tmp_path, target) for target in MODELS}


@pytest.fixture
def home(artifacts: dict[str, Artifact], tmp_path: Path) -> Path:
    """Both artifacts in an unpacked bundle, beside `adb`, the programs, and an empty phone."""
    make_bundle([one.path for one in artifacts.values()], tmp_path / "a.zip", device="android")
    (tmp_path / "phone" / "data" / "local" / "tmp").mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        archive.extractall(tmp_path / "bundle")
    scripts = {
        "adb": ADB,
        "logcat": LOGCAT,
        "benchmark_model": BENCHMARK_MODEL,
        "executor_runner": EXECUTOR_RUNNER,
    }
    for name, text in scripts.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    return tmp_path / "bundle"


def measure(home: Path, damage: float = 0.0, **changed: str) -> subprocess.CompletedProcess[str]:
    for target, (_, golden) in GOLDEN.items():
        result = home.parent / f"result.{target}"
        result.write_bytes((golden + np.float32(damage)).tobytes())
    variables = {
        **os.environ,
        "PATH": f"{home.parent}{os.pathsep}{os.environ['PATH']}",
        "ADB": str(home.parent / "adb"),
        "BENCHMARK_MODEL": str(home.parent / "benchmark_model"),
        "EXECUTOR_RUNNER": str(home.parent / "executor_runner"),
        "PHONE": str(home.parent / "phone"),
        "RESULT": str(home.parent / "result"),
        "RUNS": "3",
        **changed,
    }
    return subprocess.run(["sh", str(home / "measure.sh")], env=variables, capture_output=True, text=True)


def test_the_same_artifacts_give_the_same_archive(artifacts: dict[str, Artifact], tmp_path: Path) -> None:
    paths = [one.path for one in artifacts.values()]
    for name in ("a.zip", "b.zip"):
        make_bundle(paths, tmp_path / name, device="android")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        for target, artifact in artifacts.items():
            folder, model = f"models/net-{target}-fp32", artifact.passport.model_file
            assert archive.read(f"{folder}/input_0.bin") == GOLDEN[target][0].tobytes()
            assert archive.read(f"{folder}/{model}") == MODELS[target].read_bytes()
        lines = [line.split("\t") for line in archive.read("models.tsv").decode().splitlines()]
    assert [line[:3] for line in lines] == [
        ["net-litert-fp32", "benchmark_model", "output.bin"],
        ["net-executorch-fp32", "executor_runner", "output-0.bin"],
    ]
    assert {"--use_xnnpack=true", "--input_layer=image", "--input_layer_shape=1,3,8,8"} < set(
        lines[0][3].split()
    )
    assert {"--method_name=forward", "--inputs=input_0.bin"} < set(lines[1][3].split())


def test_a_calibration_table_makes_no_sense(artifacts: dict[str, Artifact], tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="takes no calibration table"):
        make_bundle([artifacts["litert"].path], tmp_path / "a.zip", device="android", tables=["table.json"])


@pytest.mark.parametrize("target", MODELS)
def test_a_damaged_model_is_refused(target: str, tmp_path: Path) -> None:
    artifact = write_artifact(tmp_path, target, MODELS[target].read_bytes()[:900])
    with pytest.raises(ArtifactError, match="not a usable"):
        make_bundle([artifact.path], tmp_path / "a.zip", device="android")
    assert not (tmp_path / "a.zip").exists()


def test_a_delegate_that_no_android_device_has_is_refused(tmp_path: Path) -> None:
    other = MODELS["executorch"].read_bytes().replace(b"XnnpackBackend", b"CoreMLBackend\0")
    artifact = write_artifact(tmp_path, "executorch", other)
    with pytest.raises(BadInputError, match="needs CoreMLBackend"):
        make_bundle([artifact.path], tmp_path / "a.zip", device="android")


def test_a_name_that_a_shell_would_run_is_refused(artifacts: dict[str, Artifact], tmp_path: Path) -> None:
    renamed = artifacts["litert"].path.rename(tmp_path / "net;reboot")
    with pytest.raises(BadInputError, match="rename the folder"):
        make_bundle([renamed], tmp_path / "a.zip", device="android")


@pytest.mark.parametrize("name", ["device", "report", "benchmark_model"])
def test_a_name_among_the_results_is_refused(
    name: str, artifacts: dict[str, Artifact], tmp_path: Path
) -> None:
    renamed = artifacts["litert"].path.rename(tmp_path / name)
    with pytest.raises(BadInputError, match="rename the folder"):
        make_bundle([renamed], tmp_path / "a.zip", device="android")


UNIX = pytest.mark.skipif(
    os.name == "nt" or shutil.which("sha256sum") is None, reason="the script needs a Unix shell"
)


@UNIX
@pytest.mark.parametrize("damage", [0.0, 0.5])
def test_the_scripts_push_measure_and_report(home: Path, damage: float) -> None:
    done = measure(home, damage)
    # An artifact that was never verified has no figure to hold it to, so both pass.
    assert done.returncode == 0, done.stderr
    litert, executorch = json.loads((home / "results" / "report.json").read_text())["models"]
    assert (litert["milliseconds"], litert["first_milliseconds"]) == (1.2345, 2.5)
    # 8 runs take 19.5, 18.5 and so on; the first 5 warm up.
    assert (executorch["milliseconds"], executorch["first_milliseconds"]) == (13.5, 19.5)
    for model in (litert, executorch):
        assert (model["psnr_db"] > 100) == (damage == 0.0)
    assert not list((home.parent / "phone" / "data" / "local" / "tmp").iterdir()), "nothing stays there"


@UNIX
def test_a_result_that_is_not_finite_is_not_compared(home: Path) -> None:
    done = measure(home, float("inf"))
    assert done.returncode == 1, done.stderr
    for model in json.loads((home / "results" / "report.json").read_text())["models"]:
        assert model["psnr_db"] is None and not model["ok"]


@UNIX
@pytest.mark.parametrize(("name", "value"), [("RUNS", "08"), ("RUNS", "0"), ("RUNS", "2x"), ("RUNS", "")])
def test_numbers_are_checked(home: Path, name: str, value: str) -> None:
    done = measure(home, **{name: value})
    if value:
        assert done.returncode == 2 and "whole numbers from 1" in done.stderr
    else:  # as if it were not there
        assert done.returncode == 0, done.stderr


@UNIX
def test_results_of_other_models_stay(artifacts: dict[str, Artifact], home: Path, tmp_path: Path) -> None:
    """One name may begin with another's, and a dot."""
    short, long = tmp_path / "net", tmp_path / "net.fp32"
    shutil.copytree(artifacts["executorch"].path, short)
    shutil.copytree(artifacts["litert"].path, long)
    make_bundle([long, short], tmp_path / "names.zip", device="android")
    shutil.rmtree(home)
    with zipfile.ZipFile(tmp_path / "names.zip") as archive:
        archive.extractall(home)
    done = measure(home)
    assert done.returncode == 0, done.stderr
    assert all(model["ok"] for model in json.loads((home / "results" / "report.json").read_text())["models"])


@UNIX
def test_what_does_not_run_is_named(home: Path) -> None:
    measure(home)  # whose results must not stand for those of the next run
    (home.parent / "executor_runner").write_text("#!/bin/sh\necho no delegate\nexit 7\n")
    done = measure(home)
    assert done.returncode == 1 and "net-executorch-fp32 did not run" in done.stderr
    litert, executorch = json.loads((home / "results" / "report.json").read_text())["models"]
    assert litert["ok"] and not executorch["ok"]
    assert executorch["milliseconds"] is None and executorch["psnr_db"] is None


@UNIX
def test_what_is_missing_or_damaged_is_named_before_anything_runs(home: Path, tmp_path: Path) -> None:
    done = measure(home, EXECUTOR_RUNNER=str(tmp_path / "nowhere"))
    assert done.returncode == 2 and "set EXECUTOR_RUNNER to executor_runner" in done.stderr
    (home / "models" / "net-litert-fp32" / "model.tflite").write_bytes(b"x")
    done = measure(home)
    assert done.returncode == 2 and "damaged" in done.stderr


def test_a_target_that_says_nothing_of_android_is_refused(artifacts: dict[str, Artifact]) -> None:
    row: Target = get_target("onnx")
    with pytest.raises(BadInputError, match="does not say how android runs it"):
        row.phone_run("android", artifacts["litert"])
