"""Building on a device, with a real TensorRT (RTX, ahead of time, no GPU needed), and trtexec's lines."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import small_bundle as maker
from fdikp_edge.export.bundle import make_bundle
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.device import build as device_build
from fdikp_edge.runtime.device import missing, trtexec
from fdikp_edge.runtime.device.build import Settings, build
from fdikp_edge.runtime.device.bundle import Bundle
from fdikp_edge.runtime.errors import ArtifactError, CheckFailedError, TargetUnavailableError
from fdikp_edge.runtime.tensorrt_features import features_of, features_of_module

SM86 = Settings(capability=(8, 6))


@pytest.fixture(scope="module")
def rtx() -> Any:
    return pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")


@pytest.fixture(scope="module")
def artifacts(small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    opened = Bundle.open(small_bundle, tmp_path_factory.mktemp("cache")).artifacts()
    return {artifact.passport.precision: artifact for artifact in opened}


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
        build(rtx, features_of_module(rtx), b"", artifacts["fp32"], Settings(weak=True))


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


def flags(line: str) -> dict[str, str]:
    program, *words = shlex.split(line)
    assert program == "trtexec"
    return dict(word.partition("=")[::2] for word in words)


@pytest.mark.parametrize("version", ["10.3", "10.13"])
def test_trtexec_of_10_is_told_to_take_types_from_the_file(
    version: str, artifacts: dict[str, Artifact]
) -> None:
    made, run = map(flags, trtexec.lines(artifacts["int8"], features_of("tensorrt", version), Path("out")))
    assert "--stronglyTyped" in made and not {"--fp16", "--int8", "--calib"} & set(made)
    assert {"--useSpinWait", "--useCudaGraph"} <= set(run) and "--includeDataTransfers" not in run
    assert run["--loadEngine"] == made["--saveEngine"] and run["--iterations"] == "1024"


def test_trtexec_of_11_knows_no_precision_flags(artifacts: dict[str, Artifact]) -> None:
    for weak in (False, True):
        lines = trtexec.lines(artifacts["int8"], features_of("tensorrt", "11.4"), Path("out"), weak=weak)
        made, run = map(flags, lines)
        assert not {"--stronglyTyped", "--fp16", "--int8", "--calib", "--best"} & set(made)
        assert "--includeDataTransfers" in run and not {"--useSpinWait", "--useCudaGraph"} & set(run)


def test_trtexec_of_10_by_flags(artifacts: dict[str, Artifact]) -> None:
    features = features_of("tensorrt", "10.3")
    made, _ = map(flags, trtexec.lines(artifacts["int8"], features, Path("o"), weak=True, workspace_mib=512))
    assert {"--fp16", "--int8"} <= set(made) and "--stronglyTyped" not in made and "--calib" not in made
    assert made["--memPoolSize"] == "workspace:512"


def test_paths_with_spaces_stay_one_word(artifacts: dict[str, Artifact]) -> None:
    made, _ = map(
        flags, trtexec.lines(artifacts["fp32"], features_of("tensorrt", "11.4"), Path("my engines"))
    )
    assert made["--saveEngine"] == "my engines/half-onnx-fp32.engine"


def test_an_artifact_of_tensorrt_itself_is_bundled_by_its_onnx_file(tmp_path: Path) -> None:
    bundle = make_bundle([maker.make(tmp_path, target="tensorrt-rtx")], tmp_path / "b.bundle").path
    (artifact,) = Bundle.open(bundle, tmp_path / "cache").artifacts()
    assert (artifact.passport.target, artifact.passport.model_file) == ("onnx", "model.onnx")
