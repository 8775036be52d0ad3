"""Sessions on real models: right answers, results to keep, and typed errors for whatever is wrong."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from fdikp_edge.runtime.artifact import Artifact, ArtifactWriter
from fdikp_edge.runtime.errors import ArtifactError, BadInputError, TargetUnavailableError
from fdikp_edge.runtime.sessions import SESSIONS, Session, available_threads, open_session
from runtime_networks import TARGETS, network, passport, save_network

Maker = Callable[..., Artifact]


def picture(kind: str, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if kind == "uint8":
        return rng.integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    return rng.random((1, 3, 32, 32), dtype=np.float32)


@pytest.mark.parametrize("kind", ["float", "uint8"])
@pytest.mark.parametrize("target", TARGETS)
def test_runs_and_gives_results_to_keep(make_artifact: Maker, target: str, kind: str) -> None:
    artifact = make_artifact("half", target=target, kind=kind)
    with open_session(artifact.path) as session:
        assert isinstance(session, Session)
        assert (session.input, session.output) == (artifact.passport.input, artifact.passport.output)
        first_input = picture(kind)
        first = session.run(first_input)
        kept = first.copy()
        expected = (
            first_input / np.float32(2) if kind == "float" else np.rint(first_input / 2).astype(np.uint8)
        )
        assert first.dtype == expected.dtype
        assert np.array_equal(first, expected)
        for seed in range(1, 4):
            session.run(picture(kind, seed))
        assert np.array_equal(first, kept), "a later run must not write into an earlier result"
        assert np.array_equal(first_input, picture(kind)), "the input is left alone"
        first[...] = 0  # and is the caller's to change


@pytest.mark.parametrize("target", TARGETS)
def test_inputs_in_any_memory_order(make_artifact: Maker, target: str) -> None:
    with open_session(make_artifact(target=target)) as session:
        turned = picture("float").transpose(0, 1, 3, 2)
        assert not turned.flags.c_contiguous
        assert np.array_equal(session.run(turned), turned)


@pytest.mark.parametrize("target", TARGETS)
def test_wrong_inputs_are_refused_by_name(make_artifact: Maker, target: str) -> None:
    with open_session(make_artifact(target=target)) as session:
        for wrong in (picture("float")[:, :, 1:], picture("float")[0], picture("float").astype(np.float64)):
            with pytest.raises(BadInputError, match=r"image: expected float32\[1, 3, 32, 32\] \(NCHW\), got"):
                session.run(wrong)


@pytest.mark.parametrize("target", TARGETS)
def test_says_what_runs(make_artifact: Maker, target: str) -> None:
    artifact = make_artifact(target=target)
    for threads in (1, 2, None):
        with open_session(artifact, threads=threads) as session:
            facts = session.describe()
            assert facts["threads"] == (threads or available_threads())
            assert set(facts) == {"runtime", "version", "device", "threads", "arithmetic"}
            assert "CPU" in str(facts["device"])
            assert facts["arithmetic"] == "float32"
    with pytest.raises(BadInputError, match="threads"):
        open_session(artifact, threads=0)


@pytest.mark.parametrize("target", TARGETS)
def test_closing_twice_is_fine(make_artifact: Maker, target: str) -> None:
    session = open_session(make_artifact(target=target))
    session.close()
    session.close()


@pytest.mark.parametrize("target", TARGETS)
def test_a_missing_runtime_says_what_to_install(
    make_artifact: Maker, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = make_artifact(target=target)
    monkeypatch.setitem(sys.modules, {"onnx": "onnxruntime"}.get(target, target), None)
    with pytest.raises(TargetUnavailableError, match=r'pip install (onnxruntime|"fdikp-edge\[openvino\]")'):
        open_session(artifact)


def test_a_target_of_another_release(tmp_path: Path) -> None:
    with ArtifactWriter(tmp_path / "a") as writer:
        (writer.folder / "model.bin").touch()
        artifact = writer.commit(passport(target="abacus"))
    with pytest.raises(TargetUnavailableError, match=r"'abacus'; there are: onnx, openvino"):
        open_session(artifact)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("damage", ["cut", "noise", "empty", "text"])
def test_a_corrupt_model_is_an_artifact_error(tmp_path: Path, target: str, damage: str) -> None:
    with ArtifactWriter(tmp_path / "a") as writer:
        save_network(network("blur", (32, 32), "float"), target, writer.folder)
        model = next(writer.folder.glob("model.[ox]*"))
        data = model.read_bytes()
        noise = np.random.default_rng(0).integers(0, 256, len(data), dtype=np.uint8).tobytes()
        changed = {"cut": data[: len(data) // 2], "noise": noise, "empty": b"", "text": b"hello"}
        model.write_bytes(changed[damage])
        artifact = writer.commit(passport(target=target))
    with pytest.raises(ArtifactError, match=r"model\.(onnx|xml)") as caught:
        open_session(artifact)
    assert "\n" not in str(caught.value)


def test_an_openvino_model_without_or_with_short_weights(tmp_path: Path) -> None:
    for name in ("without", "short"):
        with ArtifactWriter(tmp_path / name) as writer:
            save_network(network("blur", (32, 32), "float"), "openvino", writer.folder)
            if name == "without":
                (writer.folder / "model.bin").unlink()
            else:
                (writer.folder / "model.bin").write_bytes(b"1234")
            artifact = writer.commit(passport(target="openvino"))
        with pytest.raises(ArtifactError, match="model"):
            open_session(artifact)


@pytest.mark.parametrize("target", TARGETS)
def test_a_model_that_is_not_what_the_passport_says(make_artifact: Maker, target: str) -> None:
    honest = passport()
    for field in ("inputs", "outputs"):
        (contract,) = getattr(honest, field)
        for change in ({"name": "other"}, {"shape": (1, 3, 32, 64)}, {"dtype": "uint8"}):
            artifact = make_artifact(target=target, **{field: (dataclasses.replace(contract, **change),)})
            with pytest.raises(ArtifactError, match=f"has the {field}"):
                open_session(artifact)


def external_model(folder: Path, location: str, where: str = "initializer") -> None:
    """Write a model whose one weight is in another file."""
    from onnx import TensorProto, helper

    tensor = TensorProto(name="half", data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "4")):
        tensor.external_data.add(key=key, value=value)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 3, 32, 32))
    result = helper.make_tensor_value_info("deblurred", TensorProto.FLOAT, (1, 3, 32, 32))
    nodes = [helper.make_node("Mul", ["image", "half"], ["deblurred"])]
    if where == "attribute":
        nodes.insert(0, helper.make_node("Constant", [], ["half"], value=tensor))
    if where == "subgraph":
        inner = helper.make_graph(
            [helper.make_node("Identity", ["half"], ["chosen"])],
            "inner",
            [],
            [helper.make_tensor_value_info("chosen", TensorProto.FLOAT, (1,))],
            [tensor],
        )
        yes = helper.make_node(
            "Constant", [], ["yes"], value=helper.make_tensor("t", TensorProto.BOOL, [], [1])
        )
        branch = helper.make_node("If", ["yes"], ["taken"], then_branch=inner, else_branch=inner)
        nodes = [yes, branch, helper.make_node("Mul", ["image", "taken"], ["deblurred"])]
    weights = [tensor] if where == "initializer" else []
    graph = helper.make_graph(nodes, "g", [image], [result], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "model.onnx").write_bytes(model.SerializeToString())


@pytest.mark.parametrize("where", ["initializer", "attribute", "subgraph"])
def test_weights_in_another_file_must_be_the_artifacts_own(tmp_path: Path, where: str) -> None:
    pytest.importorskip("onnx", reason="building a test network needs onnx")
    (tmp_path / "secret.bin").write_bytes(np.float32(0.5).tobytes())
    for number, location in enumerate(
        ("../secret.bin", str(tmp_path / "secret.bin"), "missing.bin", "", ".")
    ):
        with ArtifactWriter(tmp_path / f"bad{number}") as writer:
            external_model(writer.folder, location, where)
            artifact = writer.commit(passport())
        with pytest.raises(ArtifactError, match="not one of the artifact's files"):
            open_session(artifact)


def test_own_weights_in_another_file_run(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="building a test network needs onnx")
    with ArtifactWriter(tmp_path / "good") as writer:
        external_model(writer.folder, "weights.bin")
        (writer.folder / "weights.bin").write_bytes(np.float32(0.5).tobytes())
        artifact = writer.commit(passport())
    with open_session(artifact) as session:
        assert np.array_equal(session.run(picture("float")), picture("float") / 2)


def test_every_session_class_is_where_the_table_says() -> None:
    import importlib

    for entry in SESSIONS.values():
        module, _, name = entry.partition(":")
        loaded = getattr(importlib.import_module(module, "fdikp_edge.runtime.sessions"), name)
        assert issubclass(loaded, Session)


@pytest.mark.parametrize("target", TARGETS)
def test_a_session_in_two_threads_mixes_nothing_up(target: str, tmp_path: Path) -> None:
    with ArtifactWriter(tmp_path / "a") as writer:
        save_network(network("blur", (32, 32), "float"), target, writer.folder)
        artifact = writer.commit(passport(target=target))
    rng = np.random.default_rng(0)
    inputs = [rng.random((1, 3, 32, 32), dtype=np.float32) for _ in range(2)]
    with open_session(artifact, threads=1) as session, ThreadPoolExecutor(2) as pool:
        expected = [session.run(x) for x in inputs]

        def many(which: int) -> bool:
            return all(np.array_equal(session.run(inputs[which]), expected[which]) for _ in range(300))

        assert all(pool.map(many, range(2)))


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity"), reason="this system does not tell where threads may run"
)
@pytest.mark.skipif(available_threads() < 2, reason="needs two processors")
@pytest.mark.parametrize("target", TARGETS)
def test_a_session_with_few_threads_is_not_bound_to_the_first_processors(
    make_artifact: Maker, target: str
) -> None:
    """Otherwise the sessions of `run --jobs` share one processor, and the others stay idle."""
    artifact = make_artifact("blur", target=target, size=(512, 512))
    x = np.zeros((1, 3, 512, 512), np.float32)
    tasks = Path("/proc/self/task")
    earlier = {task.name for task in tasks.iterdir()}  # of other sessions of this process, which may be bound
    with open_session(artifact, threads=1) as session, ThreadPoolExecutor(1) as pool:
        running = pool.submit(lambda: [session.run(x) for _ in range(20)])
        allowed = set()
        while not running.done():
            for name in {task.name for task in tasks.iterdir()} - earlier:
                with contextlib.suppress(OSError):  # the thread has ended
                    allowed.add(frozenset(os.sched_getaffinity(int(name))))
    assert allowed == {frozenset(os.sched_getaffinity(0))}


TOGETHER = """
import sys, threading
import numpy as np
from fdikp_edge.runtime.sessions import open_session
sys.setswitchinterval(1e-6)
sessions = [open_session(sys.argv[1], threads=1) for _ in range(2)]
begin = threading.Barrier(2)
def run(session):
    begin.wait()
    session.run(np.zeros((1, 3, 32, 32), np.float32))
threads = [threading.Thread(target=run, args=(session,)) for session in sessions]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


@pytest.mark.parametrize("target", TARGETS)
def test_the_first_runs_of_a_process_in_two_threads(make_artifact: Maker, target: str) -> None:
    # Without turns, OpenVINO's stood still in every other process.
    artifact = make_artifact(target=target)
    for _ in range(5):
        subprocess.run([sys.executable, "-c", TOGETHER, str(artifact.path)], check=True, timeout=120)
