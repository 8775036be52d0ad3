"""The session: arrays through the real page, the page's own time, and typed errors."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from fdikp_edge.benchmarks.timing.latency import measure, seconds_of
from fdikp_edge.export.build import build_artifact
from fdikp_edge.export.lowered import LoweredModel
from fdikp_edge.export.targets import get_target
from fdikp_edge.runtime.artifact import Artifact, ArtifactWriter
from fdikp_edge.runtime.errors import ArtifactError, BadInputError, RunError
from fdikp_edge.runtime.sessions import Milliseconds, open_session
from fdikp_edge.runtime.web.browser import SECONDS, browser_problem, patience
from onnx import helper

pytest.importorskip("playwright", reason="playwright is not installed (extra web)")
pytestmark = pytest.mark.skipif(browser_problem() is not None, reason=str(browser_problem()))


def test_results_are_those_of_pytorch_from_any_thread(built: Artifact, lowered: LoweredModel) -> None:
    rng = np.random.default_rng(0)
    inputs = [rng.random(built.passport.input.shape, dtype=np.float32) for _ in range(3)]
    with open_session(built, threads=1) as session, ThreadPoolExecutor(1) as other:
        results = [
            session.run(inputs[0]),
            other.submit(session.run, inputs[1]).result(),
            session.run(inputs[2]),
        ]
        with pytest.raises(BadInputError, match="expected float32"):
            session.run(np.zeros((1, 3, 8, 8), np.float32))
        timed = session.timed(inputs[0])
        facts = session.describe()
        latency = measure(lambda: session.timed(inputs[0]), warmup=0, min_samples=3)
    for x, result in zip(inputs, results, strict=True):
        (reference,) = lowered.reference({"image": x}).values()
        assert np.abs(result - reference).max() < 1e-5
    assert isinstance(timed, Milliseconds) and timed > 0
    assert latency.n == 3 and latency.complete
    assert facts["runtime"] == "ONNX Runtime Web" and facts["version"] == "1.30.0"
    assert str(facts["device"]).startswith("WebAssembly, in Chromium ")
    assert facts["threads"] == 1
    assert session.caveat == ""
    with pytest.raises((RunError, RuntimeError)):
        session.run(inputs[0])
    session.close()  # twice is fine


def test_the_pages_clock_counts_and_not_the_callers() -> None:
    assert seconds_of(lambda: Milliseconds(1500), lambda: 0.0) == 1.5
    ticks = iter((1.0, 4.0))
    assert seconds_of(lambda: 1500.0, lambda: next(ticks)) == 3.0


def test_webgpu_on_a_software_adapter_is_right_and_says_what_it_is(
    lowered: LoweredModel, web_files: dict[str, bytes], tmp_path: Path
) -> None:
    target = get_target("web:provider=webgpu")
    artifact = build_artifact(lowered, target, "fp32", tmp_path / "a")
    x = np.random.default_rng(1).random(artifact.passport.input.shape, dtype=np.float32)
    with open_session(artifact) as session:
        result = session.run(x)
        assert str(session.describe()["device"]).startswith("WebGPU, ")
        if "swiftshader" in str(session.describe()["device"]).lower():
            assert session.caveat.startswith("software adapter of WebGPU")
            assert session.caveat.endswith("correctness only")
        assert "on the processor" not in str(session.describe()["device"])
    (reference,) = lowered.reference({"image": x}).values()
    assert np.abs(result - reference).max() < 1e-4


def test_operators_without_a_webgpu_kernel_are_told(built: Artifact, tmp_path: Path) -> None:
    """Hardmax has none in this release; where one comes, another such operator takes its place here."""
    taken, given = built.passport.input, built.passport.output
    assert taken.shape == given.shape
    ports = [
        helper.make_tensor_value_info(port.name, onnx.TensorProto.FLOAT, port.shape)
        for port in (taken, given)
    ]
    nodes = [
        helper.make_node("Hardmax", [taken.name], ["h"]),
        helper.make_node("Add", [taken.name, "h"], [given.name]),
    ]
    graph = helper.make_graph(nodes, "graph", ports[:1], ports[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    settings = json.dumps({"provider": "webgpu", "sample": "sample.jpg"})
    artifact = copied(built, tmp_path / "a", model_onnx=model.SerializeToString(), settings_json=settings)
    x = np.random.default_rng(0).random(taken.shape, dtype=np.float32)
    with open_session(artifact) as session:
        assert str(session.describe()["device"]).startswith("WebGPU, ")
        assert "some operators on the processor" in str(session.describe()["device"])
        result = session.run(x)
    largest = x.argmax(-1)[..., None] == np.arange(x.shape[-1])
    assert np.abs(result - (x + largest)).max() < 1e-6


def copied(built: Artifact, folder: Path, **changed: bytes | str) -> Artifact:
    """The artifact with other contents in some files, listed as they are."""
    with ArtifactWriter(folder) as writer:
        for name in built.passport.files:
            (writer.folder / name).parent.mkdir(exist_ok=True)
            (writer.folder / name).write_bytes((built.path / name).read_bytes())
        for name, content in changed.items():
            data = content if isinstance(content, bytes) else content.encode()
            (writer.folder / name.replace("_", ".")).write_bytes(data)
        return writer.commit(built.passport)


def test_a_page_that_does_not_answer_is_left_after_the_limit(
    built: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SECONDS, "2")
    silent = copied(built, tmp_path / "silent", worker_js="self.onmessage = () => {};")
    with pytest.raises(
        RunError, match=r"did not load the model: no answer within 2 s; FDIKP_EDGE_BROWSER_SECONDS"
    ):
        open_session(silent)
    worker = (built.path / "worker.js").read_text(encoding="utf-8")
    assert "async function run({ arrays }) {" in worker
    stuck = worker.replace(
        "async function run({ arrays }) {", "async function run({ arrays }) {\n  for (;;);"
    )
    monkeypatch.setenv(SECONDS, "600")
    x = np.zeros(built.passport.input.shape, np.float32)
    with open_session(copied(built, tmp_path / "stuck", worker_js=stuck)) as session:
        session._seconds = 2  # type: ignore[attr-defined]
        with pytest.raises(RunError, match="no answer within 2 s; FDIKP_EDGE_BROWSER_SECONDS"):
            session.run(x)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "1e3", "86401", "soon", "9" * 5000, "١"])
def test_a_limit_that_makes_no_sense_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECONDS, text)
    with pytest.raises(BadInputError, match="expected whole seconds from 1 to 86400"):
        patience()
    for good, seconds in (("", 600), ("1", 1), ("86400", 86400)):
        monkeypatch.setenv(SECONDS, good)
        assert patience() == seconds


def test_settings_that_make_no_sense_are_refused(built: Artifact, tmp_path: Path) -> None:
    for number, settings in enumerate(({"provider": "cuda"}, [], {})):
        artifact = copied(built, tmp_path / str(number), settings_json=json.dumps(settings))
        with pytest.raises(
            ArtifactError, match=r"settings\.json: provider: expected one of auto, wasm, webgpu"
        ):
            open_session(artifact)


def test_a_model_that_is_none_is_refused(built: Artifact, tmp_path: Path) -> None:
    artifact = copied(built, tmp_path / "a", model_onnx=b"no model")
    with pytest.raises(ArtifactError, match=r"ONNX Runtime Web cannot load model\.onnx: "):
        open_session(artifact)
