"""Building on a device, with a real TensorRT (RTX, ahead of time, no GPU needed), and trtexec's lines."""

from __future__ import annotations

import ctypes
import dataclasses
import importlib
import importlib.util
import json
import shlex
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import small_bundle as maker
from fdikp_edge.cli.device.parser import parser
from fdikp_edge.cli.device.program import COMMANDS
from fdikp_edge.export.device.bundle import make_bundle
from fdikp_edge.runtime.artifact import Artifact, ArtifactWriter
from fdikp_edge.runtime.device import build as device_build
from fdikp_edge.runtime.device import missing, trtexec
from fdikp_edge.runtime.device.before_after import GAP
from fdikp_edge.runtime.device.build import Settings, build
from fdikp_edge.runtime.device.bundle import Bundle
from fdikp_edge.runtime.device.engine_artifact import build_artifact
from fdikp_edge.runtime.errors import (
    ArtifactError,
    BadInputError,
    CheckFailedError,
    OutputError,
    TargetUnavailableError,
    UnknownNameError,
)
from fdikp_edge.runtime.images import read_photo
from fdikp_edge.runtime.tensorrt.caches import read_cache, write_cache
from fdikp_edge.runtime.tensorrt.engines import EngineFacts
from fdikp_edge.runtime.tensorrt.features import features_of, features_of_module

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

from fake_cuda import fake_cudart

SM86 = Settings(capability=(8, 6))


@pytest.fixture(scope="module")
def rtx() -> Any:
    return pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")


@pytest.fixture(scope="module")
def weak_artifact(weak_bundle: Bundle) -> Artifact:
    (artifact,) = weak_bundle.artifacts()
    return artifact


@pytest.fixture(scope="module")
def weak_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of a float32 artifact that was made with a calibration table of its program."""
    pytest.importorskip("torch", reason="reading a calibration table needs torch")
    from fdikp_edge.calibration.fp16_islands import HalfPlan
    from fdikp_edge.calibration.ranges import SCHEMES, Statistics
    from fdikp_edge.calibration.table import CalibrationTable, ProgramCalibration

    folder = tmp_path_factory.mktemp("weak")
    source = maker.make(folder)
    seen = Statistics(0.0, 127.0, 64.0, 70.0, 10, dict.fromkeys(SCHEMES, 127.0), 40.0)
    section = ProgramCalibration({"x": seen, "mul": seen}, (), HalfPlan({"mul": "a reason"}, (), 90.0, 60.0))
    table = CalibrationTable("half", "a" * 64, (32, 32), {}, {("b" * 64, "onnx"): section})
    table.write(folder / "table.json")
    bundle = make_bundle([source], folder / "weak.bundle", tables=[folder / "table.json"])
    return Bundle.open(bundle.path, folder / "cache")


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_files_of_a_bundle_become_engines(
    precision: str, artifacts: dict[str, Artifact], rtx: Any
) -> None:
    artifact = artifacts[precision]
    built = build(rtx, features_of_module(rtx), artifact.model_path.read_bytes(), artifact, SM86)
    assert len(built.engine) > 1000 and built.timing_cache is None  # RTX keeps none
    assert not [text for severity, text in built.log if severity < 2], built.log


def test_a_refusal_names_operator_and_module(
    artifacts: dict[str, Artifact], rtx: Any, tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(artifacts["fp32"].model_path)
    node = model.graph.node[0]
    node.op_type, node.domain = "NoSuchOperator", "nowhere"
    model.opset_import.add(domain="nowhere", version=1)
    with pytest.raises(ArtifactError, match=r"refuses .*NoSuchOperator.* in network\.halve"):
        build(rtx, features_of_module(rtx), model.SerializeToString(), artifacts["fp32"], SM86)


def test_weak_typing_is_refused_where_it_was_removed(artifacts: dict[str, Artifact], rtx: Any) -> None:
    with pytest.raises(TargetUnavailableError, match="no weak typing"):
        build(rtx, features_of_module(rtx), b"", artifacts["fp32"], Settings(weak="fp16"))


def test_unsigned_values_are_refused_by_tensorrt_and_rewritten_by_a_bundle(
    artifacts: dict[str, Artifact], rtx: Any, tmp_path: Path
) -> None:
    unsigned = Artifact.open(maker.make(tmp_path, "int8"))
    with pytest.raises((ArtifactError, CheckFailedError)):
        build(rtx, features_of_module(rtx), unsigned.model_path.read_bytes(), unsigned, SM86)


def test_a_builder_that_gives_up_is_told_from_one_without_memory(artifacts: dict[str, Artifact]) -> None:
    gave_up = device_build._gave_up(
        artifacts["fp32"], [(2, "a warning"), (1, "no implementation for node x")]
    )
    assert "gave up: no implementation" in str(gave_up) and gave_up.exit_code == 1
    memory = device_build._gave_up(
        artifacts["fp32"], [(1, "Error Code 2: OutOfMemory (Requested size was 1 GB)")]
    )
    assert "ran out of memory" in str(memory) and "--workspace" in str(memory)
    for text, full in {"Cuda failure: CUDA error 2": True, "CUDA error 209: no kernel image": False}.items():
        assert ("ran out of memory" in str(device_build._gave_up(artifacts["fp32"], [(1, text)]))) == full


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("tensorrt") is not None:
        pytest.skip("this machine has TensorRT")
    first, *_ = missing.problems()
    assert (
        first.startswith("the Python module tensorrt is not installed for Python 3.") and "JetPack" in first
    )
    monkeypatch.setitem(sys.modules, "tensorrt", ModuleType("tensorrt"))  # present, but only just
    assert missing.problems()[0].startswith("this tensorrt has no ONNX parser")
    error = ImportError("libnvinfer.so.10: cannot open shared object file")
    monkeypatch.setattr(importlib, "import_module", _raising(error))
    assert "does not load: libnvinfer.so.10" in missing.problems()[0]


def _raising(error: Exception) -> Any:
    def raiser(name: str) -> ModuleType:
        raise error

    return raiser


@pytest.mark.parametrize("release", ["10.3.0", "10.13.3", "10.16.0", "11.4.1"])
def test_the_classic_builder_by_the_names_of_four_releases(
    release: str, classic: Callable[[str], Any], artifacts: dict[str, Artifact], tmp_path: Path
) -> None:
    timings = classic(release)
    settings = Settings(timing_cache=tmp_path / "timing.cache")
    built = build_artifact(artifacts["int8"], tmp_path / "engine", settings)
    note, _, onnx = (built.path / "model.engine").read_bytes().partition(b"\n")
    asked = json.loads(note)
    assert asked["strong"] and asked["flags"] == [] and asked["calibration"] == ""
    assert onnx == artifacts["int8"].model_path.read_bytes() == (built.path / "model.onnx").read_bytes()
    facts = EngineFacts.of(built)
    assert (facts.product, facts.version, facts.capabilities) == ("tensorrt", release, ((8, 7),))
    assert (built.passport.target, built.passport.state) == ("tensorrt", "unverified")
    assert built.passport.toolchain["tensorrt (device)"] == release
    assert read_cache(tmp_path / "timing.cache") == timings.TIMINGS
    (image,) = built.golden()[0].values()
    assert image.shape == maker.SHAPE
    with pytest.raises(OutputError, match="exists already"):
        build_artifact(artifacts["int8"], tmp_path / "engine", settings)


def test_timings_of_another_device_are_left_out_and_replaced(
    classic: Callable[[str], Any], fp32_artifact: Artifact, tmp_path: Path
) -> None:
    fake = classic("10.3.0")
    write_cache(tmp_path / "timing.cache", b"timings of a 3090")
    for name in ("first", "second"):  # the second has timings that fit
        build_artifact(fp32_artifact, tmp_path / name, Settings(timing_cache=tmp_path / "timing.cache"))
        assert read_cache(tmp_path / "timing.cache") == fake.TIMINGS


def test_a_device_builds_verifies_and_profiles_its_engines(
    classic: Callable[[str], Any], small_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole job on a device that is this processor: engines run their ONNX file through CUDA's calls."""
    kept: list[Any] = []

    def enqueue(stream: int, work: Callable[[], None]) -> None:
        kept.append(ctypes.CFUNCTYPE(None)(work))
        fake_cudart().fake_enqueue(ctypes.c_void_p(stream), kept[-1])

    classic("10.3.0").enqueue = enqueue
    bundle = Bundle.open(small_bundle, tmp_path / "cache")
    where = ["--engines", str(tmp_path / "engines")]

    def run(*words: str) -> Any:
        options = parser("x").parse_args([words[0], *where, "--json", *words[1:]])
        assert COMMANDS[words[0]](bundle, options)
        return json.loads(capsys.readouterr().out)

    engines = run("build")["engines"]
    assert [row["name"] for row in engines] == ["half-onnx-fp32", "half-onnx-int8"]
    photo = bundle.photo().pixels
    assert engines[0]["picture"] == str(tmp_path / "engines" / "half-onnx-fp32.before-after.png")
    picture = read_photo(Path(engines[0]["picture"])).pixels
    height, width, _ = photo.shape
    assert picture.shape == (height, 2 * width + GAP, 3)
    np.testing.assert_array_equal(picture[:, :width], photo)
    assert np.abs(picture[:, width + GAP :] - photo / 2).max() <= 1
    rows = run("verify")["artifacts"]
    assert {(row["target"], row["state"]) for row in rows} == {("tensorrt", "verified")}
    assert {row["session"]["runtime"] for row in rows} == {"TensorRT"}
    assert Artifact.open(tmp_path / "engines" / "half-onnx-fp32").passport.state == "verified"
    assert {row["session"]["runtime"] for row in run("bench", "--runs", "3")["artifacts"]} == {"TensorRT"}
    short = ("--queries", "5", "--seconds", "0.05", "--idle", "0", "--soak", "0", "--no-layers")
    (row,) = run("profile", "--precision", "fp32", *short, "--out", str(tmp_path / "p.json"))["artifacts"]
    figures = row["profile"]["clocks"]
    assert figures["kernel"]["n"] == figures["result"]["n"] == figures["end_to_end"]["n"] >= 5
    assert "kernel clock" not in row["profile"]["absent"]


def test_an_engine_of_another_bundle_is_not_run(
    artifacts: dict[str, Artifact], small_bundle: Path, tmp_path: Path
) -> None:
    other = tmp_path / "engines" / "half-onnx-fp32"
    with ArtifactWriter(other) as writer:
        for name in artifacts["fp32"].passport.files:
            (writer.folder / name).write_bytes((artifacts["fp32"].path / name).read_bytes())
        writer.commit(dataclasses.replace(artifacts["fp32"].passport, program_sha256="d" * 64))
    options = parser("x").parse_args(["verify", "--engines", str(tmp_path / "engines")])
    with pytest.raises(ArtifactError, match="another bundle"):
        COMMANDS["verify"](Bundle.open(small_bundle, tmp_path / "cache"), options)


def test_the_former_name_of_the_list_of_float32_layers_is_still_read(
    classic: Callable[[str], Any], weak_artifact: Artifact, tmp_path: Path
) -> None:
    files = {name: (weak_artifact.path / name).read_bytes() for name in weak_artifact.passport.files}
    files["wide.json"] = files.pop(device_build.FLOAT32_LAYERS_FILE)
    with ArtifactWriter(tmp_path / "older") as writer:
        for name, content in files.items():
            (writer.folder / name).write_bytes(content)
        writer.commit(weak_artifact.passport)
    classic("10.3.0")
    built = build_artifact(Artifact.open(tmp_path / "older"), tmp_path / "engine", Settings(weak="fp16"))
    asked = json.loads((built.path / "model.engine").read_bytes().partition(b"\n")[0])
    assert asked["wide"] == ["node_deblurred"]


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_weak_typing_by_flags_and_our_ranges(
    precision: Any, classic: Callable[[str], Any], weak_artifact: Artifact, tmp_path: Path
) -> None:
    classic("10.3.0")
    built = build_artifact(weak_artifact, tmp_path / "engine", Settings(weak=precision))
    asked = json.loads((built.path / "model.engine").read_bytes().partition(b"\n")[0])
    assert not asked["strong"] and asked["wide"] == ["node_deblurred"]
    assert "FP16" in asked["flags"] and ("INT8" in asked["flags"]) == (precision == "int8")
    one = struct.pack(">f", 1.0).hex()  # 127 steps reach 127
    expected = (
        ["TRT-100-EntropyCalibration2", f"image: {one}", f"deblurred: {one}"] if precision == "int8" else []
    )
    assert sorted(asked["calibration"].splitlines()) == sorted(expected)
    assert (built.passport.precision, EngineFacts.of(built).typing) == (precision, "weak")


def test_engines_built_by_flags_stand_beside_the_others_and_are_measured_too(
    classic: Callable[[str], Any],
    weak_bundle: Bundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kept: list[Any] = []

    def enqueue(stream: int, work: Callable[[], None]) -> None:
        kept.append(ctypes.CFUNCTYPE(None)(work))
        fake_cudart().fake_enqueue(ctypes.c_void_p(stream), kept[-1])

    classic("10.3.0").enqueue = enqueue

    def run(*words: str) -> Any:
        asked = [words[0], "--engines", str(tmp_path / "engines"), "--json", *words[1:]]
        assert COMMANDS[words[0]](weak_bundle, parser("x").parse_args(asked))
        return json.loads(capsys.readouterr().out)

    run("build")
    run("build", "--weak", "fp16")
    (row,) = run("info")["artifacts"]
    assert set(row["engines"]) == {"half-onnx-fp32", "half-onnx-fp32-weak-fp16"}
    engines = [(row["path"], row["precision"]) for row in run("verify")["artifacts"]]
    assert engines == [("half-onnx-fp32", "fp32"), ("half-onnx-fp32-weak-fp16", "fp16")]
    asked = ("--precision", "fp16", "--runs", "3", "--cuda-graph", "--wait", "blocking")
    (row,) = run("bench", *asked)["artifacts"]
    session = row["session"]
    assert (row["path"], session["cuda_graph"]) == ("half-onnx-fp32-weak-fp16", 1)
    assert (session["waiting"], session["tensors"]) == ("blocking", "copied")
    assert row["memory"]["device_mb"] == 12.346 and row["memory"]["peak_mb"] > 10
    with pytest.raises(UnknownNameError, match="nothing here is at 'int8'; there are: fp32, fp16"):
        run("verify", "--precision", "int8")


def test_options_of_engines_are_refused_where_none_was_built(small_bundle: Path, tmp_path: Path) -> None:
    options = parser("x").parse_args(
        ["bench", "--engines", str(tmp_path / "engines"), "--cuda-graph", "--no-mapped"]
    )
    with pytest.raises(BadInputError, match="cuda_graph, mapped: target onnx has no such option"):
        COMMANDS["bench"](Bundle.open(small_bundle, tmp_path / "cache"), options)


def test_weak_typing_needs_the_ranges(
    classic: Callable[[str], Any], artifacts: dict[str, Artifact], tmp_path: Path
) -> None:
    classic("10.3.0")
    with pytest.raises(ArtifactError, match=r"--table"):
        build_artifact(artifacts["fp32"], tmp_path / "engine", Settings(weak="int8"))
    assert not (tmp_path / "engine").exists()


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        (
            "[virtualMemoryBuffer.cpp] Error Code 2: OutOfMemory (Requested size was 7 GB.)",
            "ran out of memory",
        ),
        ("Could not find any implementation for node x", "gave up: Could not find any implementation"),
    ],
)
def test_a_builder_that_fails_after_40_000_messages_tells_why_and_leaves_its_log_alone(
    problem: str,
    expected: str,
    classic: Callable[[str], Any],
    artifacts: dict[str, Artifact],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    classic("10.3.0")
    monkeypatch.setenv("FAKE_TENSORRT_FAILS", problem)
    with pytest.raises(CheckFailedError, match=expected) as failed:
        build_artifact(artifacts["fp32"], tmp_path / "engine")
    log = tmp_path / "engine.build.log"
    assert {file.name for file in tmp_path.iterdir()} == {"lib", log.name} and str(log) in str(failed.value)
    lines = log.read_text(encoding="utf-8").splitlines()
    assert lines[-1] == f"[E] {problem}" and len(lines) < 5000
    with pytest.raises(CheckFailedError, match=expected):
        build_artifact(artifacts["fp32"], tmp_path / "engine", Settings(log=tmp_path / "all.log"))
    assert len((tmp_path / "all.log").read_text(encoding="utf-8").splitlines()) == 40_001


def flags(line: str) -> dict[str, str]:
    program, *words = shlex.split(line)
    assert program == "trtexec"
    return dict(word.partition("=")[::2] for word in words)


@pytest.mark.parametrize("version", ["10.3", "10.13", "10.16"])
def test_trtexec_of_10_is_told_to_take_types_from_the_file(
    version: str, artifacts: dict[str, Artifact]
) -> None:
    build, run = map(flags, trtexec.lines(artifacts["int8"], features_of("tensorrt", version), Path("out")))
    assert "--stronglyTyped" in build and not {"--fp16", "--int8", "--calib"} & set(build)
    assert {"--useSpinWait", "--useCudaGraph"} <= set(run) and "--includeDataTransfers" not in run
    assert run["--loadEngine"] == build["--saveEngine"] and run["--iterations"] == "1024"


@pytest.mark.parametrize("version", ["10.3", "11.4"])
def test_trtexec_computes_in_float32_and_keeps_a_timing_cache_of_its_own(
    version: str, artifacts: dict[str, Artifact]
) -> None:
    build, _ = map(flags, trtexec.lines(artifacts["fp32"], features_of("tensorrt", version), Path("out")))
    assert "--noTF32" in build
    assert build["--timingCacheFile"] == "out/trtexec.cache", "ours has a digest before the timings"


def test_the_printed_lines_run_as_they_are(artifacts: dict[str, Artifact], tmp_path: Path) -> None:
    """By a trtexec that is not on PATH and makes no folder, like the real one; the shell stops at errors."""
    tool = tmp_path / "bin" / "trtexec"
    tool.parent.mkdir()
    tool.write_text(
        "#!/bin/sh\nset -e\nfor word; do case $word in\n"
        '--saveEngine=*) : > "${word#*=}";;\n--timingCacheFile=*) : > "${word#*=}";;\n'
        '--loadEngine=*) : < "${word#*=}";;\nesac; done\n'
    )
    tool.chmod(0o755)
    out = tmp_path / "my engines"
    script = "\n".join(trtexec.for_versions([artifacts["fp32"]], out, places=(str(tool.parent),)))
    done = subprocess.run(
        ["sh", "-e", "-c", script],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin"},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(file.name for file in out.iterdir()) == ["half-onnx-fp32.engine", "trtexec.cache"]


def test_trtexec_of_11_knows_no_precision_flags(artifacts: dict[str, Artifact]) -> None:
    for weak in (None, "int8"):
        lines = trtexec.lines(artifacts["int8"], features_of("tensorrt", "11.4"), Path("out"), weak=weak)
        build, run = map(flags, lines)
        assert not {"--stronglyTyped", "--fp16", "--int8", "--calib", "--best"} & set(build)
        assert "--includeDataTransfers" in run and not {"--useSpinWait", "--useCudaGraph"} & set(run)


def test_trtexec_of_10_by_flags(weak_artifact: Artifact) -> None:
    features = features_of("tensorrt", "10.3")
    build, _ = map(flags, trtexec.lines(weak_artifact, features, Path("o"), weak="int8", workspace_mib=512))
    assert {"--fp16", "--int8"} <= set(build) and "--stronglyTyped" not in build
    assert build["--calib"] == str(weak_artifact.path / "calibration.cache")
    assert build["--layerPrecisions"] == "node_deblurred:fp32" and build["--precisionConstraints"] == "prefer"
    assert build["--memPoolSize"] == "workspace:512"
    half, _ = map(flags, trtexec.lines(weak_artifact, features, Path("o"), weak="fp16"))
    assert "--fp16" in half and not {"--int8", "--calib"} & set(half)


def test_where_there_are_no_flags_a_comment_says_so(weak_artifact: Artifact) -> None:
    *ten, last = trtexec.for_versions([weak_artifact], Path("o"), weak="int8")
    assert any("--int8" in line for line in ten) and last.startswith(
        "# TensorRT 11 chooses no types by flags"
    )


def test_paths_with_spaces_stay_one_word(artifacts: dict[str, Artifact]) -> None:
    build, _ = map(
        flags, trtexec.lines(artifacts["fp32"], features_of("tensorrt", "11.4"), Path("my engines"))
    )
    assert build["--saveEngine"] == "my engines/half-onnx-fp32.engine"


def test_an_artifact_of_tensorrt_itself_is_bundled_by_its_onnx_file(tmp_path: Path) -> None:
    bundle = make_bundle([maker.make(tmp_path, target="tensorrt-rtx")], tmp_path / "b.bundle").path
    (artifact,) = Bundle.open(bundle, tmp_path / "cache").artifacts()
    assert (artifact.passport.target, artifact.passport.model_file) == ("onnx", "model.onnx")
