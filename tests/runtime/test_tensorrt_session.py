"""The TensorRT session: its refusals on this machine, and its work on a device that is this processor."""

from __future__ import annotations

import ctypes
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fdikp_edge.runtime.artifact import Artifact, ArtifactWriter
from fdikp_edge.runtime.errors import ArtifactError, BadInputError, DeviceError, TargetUnavailableError
from fdikp_edge.runtime.sessions import open_session, open_stand_in, tensorrt_session
from fdikp_edge.runtime.tensorrt import cuda_library
from fdikp_edge.runtime.tensorrt.caches import cache_folder, read_cache, write_cache
from fdikp_edge.runtime.tensorrt.cuda import open_cuda
from fdikp_edge.runtime.tensorrt.engines import (
    ENGINE_FILE,
    FACTS_FILE,
    ONNX_FILE,
    EngineFacts,
    parse_capability,
)

sys.path.insert(0, str(Path(__file__).parent / "helpers"))

from fake_cuda import fake_cudart, live
from runtime_networks import network, passport, save_network

HERE = Path(__file__).parent
SIZE = (32, 32)
FACTS = EngineFacts("tensorrt", "10.3.0", ((8, 7),))
X = np.random.default_rng(0).random((1, 3, *SIZE)).astype(np.float32)

Make = Callable[..., Artifact]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Writes an artifact with the engine that the recorded TensorRT would build of a test network."""
    pytest.importorskip("onnx", reason="building a test network needs onnx")

    def built(
        facts: EngineFacts = FACTS, *, engine: bytes | None = None, kind: str = "float", **fields: Any
    ) -> Artifact:
        with ArtifactWriter(tmp_path / "artifact", overwrite=True) as writer:
            save_network(network("blur", SIZE, kind), "onnx", writer.folder)
            onnx = (writer.folder / ONNX_FILE).read_bytes()
            data = json.dumps({"version": facts.version}).encode() + b"\n" + onnx
            (writer.folder / ENGINE_FILE).write_bytes(data if engine is None else engine)
            (writer.folder / FACTS_FILE).write_bytes(facts.to_json())
            changes = {"model_file": ENGINE_FILE, **fields}
            return writer.commit(passport(SIZE, kind, facts.product, **changes))

    return built


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """A machine with an Orin (8.7) and TensorRT 10.3; all its memory must be free at the end."""
    monkeypatch.setattr(cuda_library, "candidates", lambda: iter([fake_cudart()._name]))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("FAKE_TENSORRT", str(HERE / "tensorrt_api" / "10.3.0.json"))
    monkeypatch.syspath_prepend(HERE / "fake_tensorrt")
    open_cuda.cache_clear()
    before = live()
    kept: list[Any] = []

    def enqueue(stream: int, work: Callable[[], None]) -> None:
        kept.append(ctypes.CFUNCTYPE(None)(work))  # a graph may call it for as long as the test runs
        fake_cudart().fake_enqueue(ctypes.c_void_p(stream), kept[-1])

    sys.modules.pop("tensorrt", None)
    importlib.import_module("tensorrt").enqueue = enqueue  # type: ignore[attr-defined]
    yield monkeypatch
    assert live() == before
    sys.modules.pop("tensorrt", None)
    open_cuda.cache_clear()


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("kind", ["float", "uint8"])
def test_the_engine_computes_what_its_file_does(machine: object, make: Make, kind: str, graph: bool) -> None:
    artifact = make(kind=kind)
    stand_in = open_stand_in(artifact)
    assert stand_in is not None and stand_in.is_stand_in and "ONNX Runtime" in stand_in.caveat
    pictures = [X * share for share in (1.0, 0.5, 0.25, 0.125, 0.0)]
    if kind == "uint8":
        pictures = [(x * 255).astype(np.uint8).transpose(0, 2, 3, 1) for x in pictures]
    with open_session(artifact, cuda_graph=graph) as session, stand_in:
        results = [session.run(x) for x in pictures]
        for x, result in zip(pictures, results, strict=True):
            np.testing.assert_array_equal(result, stand_in.run(x))
        facts = session.describe()
    assert facts["runtime"] == "TensorRT" and facts["version"] == "10.3.0"
    assert facts["device"] == "Fake Orin, compute capability 8.7"
    with pytest.raises(ArtifactError, match="closed"):
        session.run(pictures[0])
    session.close()


@pytest.mark.parametrize("how", ["auto", "spin", "yield", "blocking"])
def test_how_a_run_waits_is_set_and_read_back(machine: object, make: Make, how: str) -> None:
    with open_session(make(), waiting=how) as session:
        assert session.describe()["waiting"] == how
    with open_session(make()) as session:
        assert session.describe()["waiting"] == "spin"
    with pytest.raises(BadInputError, match="expected one of auto, spin, yield, blocking; got 'sleep'"):
        open_session(make(), waiting="sleep")


@pytest.mark.parametrize("graph", [False, True])
def test_nothing_is_copied_where_the_gpu_shares_the_memory(
    machine: pytest.MonkeyPatch, make: Make, graph: bool
) -> None:
    machine.setenv("FAKE_INTEGRATED", "1")
    copies, artifact = fake_cudart().fake_copies, make()
    results = {}
    for mapped, per_run in ((None, 0), (True, 0), (False, 2)):
        before = copies()
        with open_session(artifact, mapped=mapped, cuda_graph=graph) as session:
            for share in (1.0, 0.5, 0.25, 0.125):
                results[mapped] = session.run(X * share)
            assert session.describe()["tensors"] == ("copied" if per_run else "mapped")
        assert (copies() - before > 0) == (per_run > 0)
    np.testing.assert_array_equal(results[None], results[False])


def test_memory_that_is_not_shared_cannot_be_mapped(machine: object, make: Make) -> None:
    with open_session(make()) as session:
        assert session.describe()["tensors"] == "copied"
    with pytest.raises(BadInputError, match="Fake Orin has memory of its own"):
        open_session(make(), mapped=True)


def test_the_engines_memory_is_told_by_every_release(machine: pytest.MonkeyPatch, make: Make) -> None:
    with open_session(make()) as session:
        assert session.device_memory_bytes == 12_345_678


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (EngineFacts("tensorrt", "10.3.0", ((8, 6), (12, 0))), r"8\.6, 12\.0; Fake Orin has 8\.7"),
        (EngineFacts("tensorrt", "10.13.3", ((8, 7),)), r"built by tensorrt 10\.13\.3, and here is 10\.3\.0"),
    ],
)
def test_an_engine_for_another_machine_is_refused(
    machine: object, make: Make, facts: EngineFacts, words: str
) -> None:
    with pytest.raises(TargetUnavailableError, match=words):
        open_session(make(facts))


def test_an_engine_that_was_altered_after_the_folder_was_opened_is_refused(
    machine: object, make: Make
) -> None:
    artifact = make()
    file = artifact.path / ENGINE_FILE
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(ArtifactError, match=r"model\.engine: was altered"):
        open_session(artifact)


def test_an_engine_that_tensorrt_refuses_is_quoted(machine: object, make: Make) -> None:
    with pytest.raises(ArtifactError, match=r"TensorRT cannot load model\.engine: Magic tag does not match"):
        open_session(make(engine=b"nonsense"))


def test_an_engine_of_another_network_is_refused(machine: object, make: Make) -> None:
    other = passport((64, 64), "float", "tensorrt")
    with pytest.raises(ArtifactError, match="the passport says"):
        open_session(make(inputs=other.inputs, outputs=other.outputs))


def test_a_full_device_is_said_with_what_is_free(machine: pytest.MonkeyPatch, make: Make) -> None:
    artifact = make()
    machine.setenv("FAKE_CUDART", "oom")
    with pytest.raises(DeviceError, match=r"memory is full \(1 of 2 MB free\).*out of memory"):
        open_session(artifact)


def test_a_device_that_fails_at_work_is_an_error(machine: pytest.MonkeyPatch, make: Make) -> None:
    with open_session(make()) as session:
        machine.setenv("FAKE_CUDART", "lost")
        with pytest.raises(DeviceError, match="CUDA error 700"):
            session.run(X)


@pytest.mark.parametrize("how", ["no_driver", "old_driver", "no_device"])
def test_a_machine_without_a_working_gpu_says_so(machine: pytest.MonkeyPatch, make: Make, how: str) -> None:
    machine.setenv("FAKE_CUDART", how)
    with pytest.raises(TargetUnavailableError, match=r"target tensorrt: .*(driver|GPU)"):
        open_session(make())


def test_this_machine_says_why_it_cannot_run_an_engine(make: Make) -> None:
    open_cuda.cache_clear()
    artifact = make(EngineFacts("tensorrt-rtx", "1.7.1.116", ((8, 6),)))
    with pytest.raises((TargetUnavailableError, ArtifactError), match=r"target tensorrt-rtx: |model\.engine"):
        open_session(artifact)


def test_the_installed_tensorrt_rtx_has_every_name_that_a_session_uses() -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    names = """
        ILogger.log ILogger.ERROR ILogger.INTERNAL_ERROR nptype TensorIOMode.INPUT EngineValidity.INVALID
        Runtime.engine_host_code_allowed Runtime.engine_header_size Runtime.get_engine_validity
        Runtime.deserialize_cuda_engine ICudaEngine.num_io_tensors ICudaEngine.get_tensor_name
        ICudaEngine.get_tensor_mode ICudaEngine.get_tensor_dtype ICudaEngine.get_tensor_shape
        ICudaEngine.create_runtime_config ICudaEngine.create_execution_context
        IRuntimeConfig.create_runtime_cache IRuntimeConfig.set_runtime_cache
        IRuntimeCache.serialize IRuntimeCache.deserialize
        IExecutionContext.set_tensor_address IExecutionContext.execute_async_v3
    """
    for name in names.split():
        place = trt
        for part in name.split("."):
            assert hasattr(place, part), name
            place = getattr(place, part)


class TestFacts:
    """``engine.json`` is held to its form."""

    def test_round_trip(self) -> None:
        assert EngineFacts.from_json(FACTS.to_json()) == FACTS

    @pytest.mark.parametrize(
        "change",
        [
            {"format": "other"},
            {"product": "tensor"},
            {"capabilities": []},
            {"capabilities": ["8"]},
            {"capabilities": 8},
            {"typing": "loose"},
        ],
    )
    def test_what_is_wrong_is_refused(self, change: dict[str, Any]) -> None:
        content = {**json.loads(FACTS.to_json()), **change}
        with pytest.raises(ArtifactError, match=r"engine\.json: "):
            EngineFacts.from_json(json.dumps(content).encode())

    @pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"format": NaN}'])
    def test_what_is_no_record_is_refused(self, data: bytes) -> None:
        with pytest.raises(ArtifactError, match=r"engine\.json: "):
            EngineFacts.from_json(data)

    def test_the_other_product_is_refused(self) -> None:
        from fdikp_edge.runtime.tensorrt.cuda import Device

        with pytest.raises(ArtifactError, match="for tensorrt, not for tensorrt-rtx"):
            FACTS.check("tensorrt-rtx", "10.3.0", Device(0, "x", (8, 7), 1))

    @pytest.mark.parametrize("text", ["8", "8.66", "a.b", "", "0.1", "8.6,8.9"])
    def test_capabilities_have_a_form(self, text: str) -> None:
        with pytest.raises(BadInputError, match="compute capability"):
            parse_capability(text)


class TestCaches:
    """A cache is used only where nobody else could have written it."""

    @pytest.fixture(autouse=True)
    def home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def test_what_was_kept_is_read(self) -> None:
        folder = cache_folder("kernels")
        assert folder is not None
        write_cache(folder / "a", b"kernels")
        assert read_cache(folder / "a") == b"kernels"
        assert read_cache(folder / "b") is None

    def test_a_damaged_one_is_left_alone(self) -> None:
        folder = cache_folder("kernels")
        assert folder is not None
        write_cache(folder / "a", b"kernels")
        (folder / "a").write_bytes((folder / "a").read_bytes() + b"!")
        assert read_cache(folder / "a") is None

    def test_one_that_others_may_write_is_left_alone(self) -> None:
        folder = cache_folder("kernels")
        assert folder is not None
        write_cache(folder / "a", b"kernels")
        (folder / "a").chmod(0o622)
        assert read_cache(folder / "a") is None
        folder.chmod(0o777)
        assert cache_folder("kernels") is None

    def test_a_home_that_cannot_be_made_means_no_cache(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        assert cache_folder("kernels") is None
        write_cache(tmp_path / "file" / "a", b"x")


@pytest.mark.parametrize(
    ("precision", "census", "arithmetic"),
    [
        ("fp32", {"float32": 3}, "float32"),
        ("fp16", {"float16": 3, "float32": 1}, "float16 and float32"),
        ("int8", {"float32": 3, "int8 layers": 2}, "int8 and float32"),
        ("int8", {"float16": 3, "float32": 1}, "int8 and float16 and float32"),
    ],
)
def test_the_arithmetic_is_that_of_the_file(precision: str, census: dict[str, int], arithmetic: str) -> None:
    assert tensorrt_session.arithmetic(precision, census) == arithmetic
