"""The session: arrays through the real page, the page's own time, and typed errors."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from fdikp_edge.benchmarks.timing.latency import measure, seconds_of
from fdikp_edge.export.build import build_artifact
from fdikp_edge.export.lowered import LoweredModel
from fdikp_edge.export.targets import get_target
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.errors import ArtifactError, BadInputError, RunError
from fdikp_edge.runtime.sessions import Milliseconds, open_session
from fdikp_edge.runtime.web.browser import browser_problem

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
    (reference,) = lowered.reference({"image": x}).values()
    assert np.abs(result - reference).max() < 1e-4


def test_settings_that_make_no_sense_are_refused(built: Artifact, tmp_path: Path) -> None:
    from fdikp_edge.runtime.artifact import ArtifactWriter

    for number, settings in enumerate(({"provider": "cuda"}, [], {})):
        with ArtifactWriter(tmp_path / str(number)) as writer:
            for name in built.passport.files:
                (writer.folder / name).parent.mkdir(exist_ok=True)
                (writer.folder / name).write_bytes((built.path / name).read_bytes())
            (writer.folder / "settings.json").write_text(json.dumps(settings))
            artifact = writer.commit(built.passport)
        with pytest.raises(
            ArtifactError, match=r"settings\.json: provider: expected one of auto, wasm, webgpu"
        ):
            open_session(artifact)


def test_a_model_that_is_none_is_refused(built: Artifact, tmp_path: Path) -> None:
    from fdikp_edge.runtime.artifact import ArtifactWriter

    with ArtifactWriter(tmp_path / "a") as writer:
        for name in built.passport.files:
            (writer.folder / name).parent.mkdir(exist_ok=True)
            (writer.folder / name).write_bytes((built.path / name).read_bytes())
        (writer.folder / "model.onnx").write_bytes(b"no model")
        artifact = writer.commit(built.passport)
    with pytest.raises(ArtifactError, match=r"ONNX Runtime Web cannot load model\.onnx: "):
        open_session(artifact)
