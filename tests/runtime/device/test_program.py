"""The bundle as a device runs it: `python half.bundle COMMAND` with NumPy and ONNX Runtime and nothing else.

Here that is this Python without its site-packages, but for those two. FDIKP_EDGE_BARE_PYTHONS names other
interpreters to try (a list separated like PATH), each with NumPy and ONNX Runtime installed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fdikp_edge.benchmarks.report.model import Row
from fdikp_edge.runtime.device import entry

Device = Callable[..., "subprocess.CompletedProcess[str]"]
LINES = Path(__file__).parents[2] / "benchmarks" / "telemetry" / "lines" / "tegrastats.json"
OTHERS = [path for path in os.environ.get("FDIKP_EDGE_BARE_PYTHONS", "").split(os.pathsep) if path]


def package_folder(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent


@pytest.fixture(scope="module")
def two_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with NumPy and ONNX Runtime, and what they load beside themselves."""
    folder = tmp_path_factory.mktemp("packages")
    for name in ("numpy", "onnxruntime"):
        origin = package_folder(name)
        for path in (origin, origin.with_name(f"{name}.libs")):
            if path.exists():
                (folder / path.name).symlink_to(path, target_is_directory=True)
    return folder


@pytest.fixture(params=["here", *OTHERS])
def device(
    request: pytest.FixtureRequest,
    small_bundle: Path,
    two_packages: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Device:
    """Run a command of the bundle in an empty folder."""
    cache = tmp_path_factory.getbasetemp() / "bundle-cache"
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        entry.CACHE_VARIABLE: str(cache),
        "OMP_NUM_THREADS": "1",
    }
    python = [request.param]
    if request.param == "here":
        python, env["PYTHONPATH"] = [sys.executable, "-S"], str(two_packages)

    def run(*words: object, engines: Path = tmp_path / "engines") -> subprocess.CompletedProcess[str]:
        command, *rest = map(str, words)
        more = [] if command == "info" else ["--engines", str(engines)]
        return subprocess.run(
            [*python, str(small_bundle), command, *more, *rest],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


def answer(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_nothing_else_is_there(device: Device, two_packages: Path) -> None:
    names = ("PIL", "typer", "rich", "torch", "onnx", "fdikp_edge")
    script = f"import importlib.util as u; print([name for name in {names} if u.find_spec(name)])"
    done = subprocess.run(
        [sys.executable, "-S", "-c", script],
        env={"PYTHONPATH": str(two_packages)},
        cwd=two_packages,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_a_python_without_numpy_is_told_so(small_bundle: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-S", str(small_bundle), "info"],
        env={entry.CACHE_VARIABLE: str(tmp_path / "cache"), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2 and "pip install numpy" in done.stderr and "Traceback" not in done.stderr


def test_info(device: Device) -> None:
    facts = answer(device("info", "--json"))
    assert [row["name"] for row in facts["artifacts"]] == ["half-onnx-fp32", "half-onnx-int8"]
    assert [row["engines"] for row in facts["artifacts"]] == [{}] * len(facts["artifacts"])


def test_verify_passes(device: Device) -> None:
    rows = answer(device("verify", "--json"))["artifacts"]
    assert [(row["precision"], row["state"]) for row in rows] == [("fp32", "verified"), ("int8", "verified")]
    assert rows[0]["parity"]["max_abs"] == 0 and 0 < rows[1]["parity"]["max_abs"] < 0.01
    assert {row["session"]["runtime"] for row in rows} == {"ONNX Runtime"}


def test_bench_passes(device: Device) -> None:
    (row,) = answer(device("bench", "--precision", "fp32", "--runs", "20", "--json"))["artifacts"]
    took = row["latency_ms"]
    assert took["n"] >= 20 and took["complete"] and took["min"] <= took["p50"] <= took["p90"] <= took["p99"]


def test_build_says_exactly_what_is_missing(device: Device, tmp_path: Path) -> None:
    if importlib.util.find_spec("tensorrt") is not None:
        pytest.skip("this machine has TensorRT")
    done = device("build")
    assert done.returncode == 2
    assert "the Python module tensorrt is not installed for Python 3." in done.stderr
    assert "driver" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "engines").exists()


def test_trtexec_lines_are_printed_without_tensorrt(device: Device) -> None:
    done = device("build", "--trtexec")
    assert done.returncode == 0 and done.stdout.count("trtexec --onnx=") == 4


def test_deblur_needs_no_image_library(device: Device, tmp_path: Path) -> None:
    pil = pytest.importorskip("PIL.Image", reason="reads the result back")
    assert answer(device("deblur", "--json", "--out", "sharp.png"))["out"] == "sharp.png"
    with pil.open(tmp_path / "sharp.png") as image:
        assert image.size == (512, 512) and image.mode == "RGB"
        pixels = np.asarray(image)
    from fdikp_edge.runtime.images import read_photo
    from fdikp_edge.runtime.samples import defocused_photo

    assert np.abs(pixels - np.rint(read_photo(defocused_photo()).pixels / 2)).max() <= 1
    again = device("deblur", "--out", "sharp.png")
    assert again.returncode == 2 and "exists already" in again.stderr


def test_a_photo_of_ones_own_needs_pillow(device: Device, tmp_path: Path) -> None:
    (tmp_path / "mine.jpg").write_bytes(b"\xff\xd8\xff" + zlib.compress(b"x"))
    done = device("deblur", "mine.jpg")
    assert done.returncode == 2 and "pip install pillow" in done.stderr and "Traceback" not in done.stderr


def test_profile_has_the_form_of_a_report_and_names_what_is_absent(device: Device, tmp_path: Path) -> None:
    short = ("--queries", "30", "--seconds", "0.3", "--idle", "0.1", "--soak", "0.1", "--interval", "0.05")
    done = device("profile", "--precision", "fp32", *short, "--out", "p.json")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "p.json").read_text(encoding="utf-8"))
    (row,) = report["artifacts"]
    bare = Row("onnx", "fp32", (32, 32)).to_dict()
    assert set(bare) <= set(row) and {"version", "created", "model", "machine", "command"} <= set(report)
    profile = row["profile"]
    assert (
        row["latency_ms"]["n"] == len(row["latency_ms"]["samples"]) == profile["protocol"]["measured_queries"]
    )
    assert profile["clocks"]["kernel"] is None and "kernel clock" in profile["absent"]
    for result, whole in zip(
        profile["queries"]["result_ms"], profile["queries"]["end_to_end_ms"], strict=True
    ):
        assert 0 < result <= whole
    assert not profile["protocol"]["conformant"]
    assert any("shorter than 60 s" in problem for problem in profile["protocol"]["problems"])
    assert "nvpmodel" in profile["settings"] and "tegrastats" in profile["absent"]
    (layer,) = [layer for layer in profile["layers"] if layer["operator"] == "Mul"]
    assert layer["module"] == "network.halve" and profile["modules_ms"]["network.halve"] > 0


def test_replay_gives_power_temperatures_and_throttling(device: Device, tmp_path: Path) -> None:
    line = json.loads(LINES.read_text(encoding="utf-8"))[0]["line"]
    slower = line.replace("@[621]", "@[306]")
    (tmp_path / "t.log").write_text("\n".join([line] * 4 + [slower] * 4), encoding="utf-8")
    short = ("--queries", "3", "--seconds", "0.05", "--idle", "0", "--soak", "0", "--no-layers")
    done = device("profile", "--precision", "fp32", *short, "--replay", "t.log", "--json")
    profile = answer(done)["artifacts"][0]["profile"]
    assert profile["power"]["total"]["of"] == "VDD_IN" and profile["power"]["total"]["mean_mw"] == 12479
    assert profile["temperature_c"]["tj"]["max"] == 53.968
    assert profile["throttle"] == {"flagged": True, "reasons": ["clock GR3D fell from 621 to 306 MHz"]}
    assert profile["live"] is False and profile["energy_per_frame_mj"] is None
    assert profile["sources"] == ["replay of t.log"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("verify", "--precision", "fp8"), "there are: fp32, int8"),
        (("verify", "--artifact", "other"), "there are: half-onnx-fp32, half-onnx-int8"),
        (("profile", "--replay", "missing.log"), "missing.log"),
        (("verify", "--artifact", "half-onnx-fp32", "--precision", "int8"), "nothing here is at 'int8'"),
        (("bench", "--runs", "0"), "a whole number from 1"),
        (("bench", "--runs", "some"), "a whole number from 1"),
        (("profile", "--soak", "nan"), "a number from 0"),
        (("destroy",), "invalid choice"),
    ],
)
def test_bad_use_is_a_message(words: tuple[str, ...], reason: str, device: Device) -> None:
    done = device(*words)
    assert done.returncode == 2 and reason in done.stderr and "Traceback" not in done.stderr


def test_a_failed_check_is_exit_code_1(tmp_path: Path, two_packages: Path) -> None:
    pytest.importorskip("torch", reason="packing a bundle needs torch")
    import small_bundle as maker
    from fdikp_edge.export.device.bundle import make_bundle

    bundle = make_bundle([maker.make(tmp_path, golden=0.4)], tmp_path / "wrong.bundle").path
    done = subprocess.run(
        [sys.executable, "-S", str(bundle), "verify"],
        env={"PYTHONPATH": str(two_packages), entry.CACHE_VARIABLE: str(tmp_path / "c"), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1 and "failed" in done.stdout and "over" in done.stdout


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_place_is_a_message(device: Device, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    done = device("deblur", "--out", "locked/x.png")
    assert done.returncode == 2 and "cannot be written" in done.stderr
