"""A page other than the one that was built, its hash made right: typed errors, and nothing left running."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from fdikp_edge.runtime.artifact import Artifact, ArtifactWriter
from fdikp_edge.runtime.errors import ArtifactError, RunError
from fdikp_edge.runtime.passport import Passport, TensorContract
from fdikp_edge.runtime.sessions import open_session
from fdikp_edge.runtime.web.browser import browser_problem

pytest.importorskip("playwright", reason="playwright is not installed (extra `web`)")
pytestmark = pytest.mark.skipif(browser_problem() is not None, reason=str(browser_problem()))

PORT = '{ name: "image", shape: [1, 3, 8, 8], type: "float32" }'
FACTS = f"""provider: "wasm", adapter: "", software: false, mixed: false, threads: 1, version: "1",
  inputs: [{PORT}], outputs: [{PORT}]"""
RIGHT = "{ arrays: { image: new Float32Array(192).buffer }, ms: 1 }"


def artifact(folder: Path, facts: str, result: str) -> Artifact:
    port = TensorContract(
        name="image",
        shape=(1, 3, 8, 8),
        dtype="float32",
        layout="NCHW",
        value_range=(0, 1),
        color_space="sRGB",
    )
    with ArtifactWriter(folder / "web") as writer:
        (writer.folder / "index.html").write_text("<p>page</p>")
        (writer.folder / "model.onnx").write_bytes(b"model")
        (writer.folder / "settings.json").write_text('{"provider": "wasm"}')
        (writer.folder / "engine.js").write_text(
            f"export class Engine {{ async ask(what) {{ return what === 'open' ? {facts} : {result}; }} }}"
        )
        passport = Passport(
            model="net", weights_sha256="a" * 64, program_sha256="b" * 64, target="web", precision="fp32",
            inputs=(port,), outputs=(port,), model_file="model.onnx",
        )  # fmt: skip
        return writer.commit(passport)


@pytest.fixture(autouse=True)
def before() -> set[threading.Thread]:
    """What runs already, of other tests in this process."""
    return set(threading.enumerate())


def left(before: set[threading.Thread]) -> list[str]:
    since = set(threading.enumerate()) - before
    return [one.name for one in since if "artifact-server" in one.name or "browser" in one.name]


@pytest.mark.parametrize(
    "facts",
    [
        "null",
        "7",
        f"{{ {FACTS}, threads: 'many' }}",
        f"{{ {FACTS}, inputs: [7] }}",
        f"{{ {FACTS}, inputs: [{{ name: 'image' }}] }}",
        f"{{ {FACTS}, outputs: [] }}",
        "(() => { throw new Error('no') })()",
    ],
)
def test_a_page_that_says_something_else_of_itself(
    facts: str, tmp_path: Path, before: set[threading.Thread]
) -> None:
    with pytest.raises(ArtifactError):
        open_session(artifact(tmp_path, facts, RIGHT))
    assert not left(before), "the browser and the server have ended"


def test_results_that_are_none(tmp_path: Path, before: set[threading.Thread]) -> None:
    results = [
        "null",
        "{ arrays: {}, ms: 1 }",
        "{ arrays: { image: new Float32Array(191).buffer }, ms: 1 }",
        "{ arrays: { image: new Float32Array(193).buffer }, ms: 1 }",
        "{ arrays: { image: new Float32Array(192).buffer }, ms: NaN }",
        "{ arrays: { image: new Float32Array(192).buffer }, ms: 'soon' }",
    ]
    answers = f"[{', '.join(results)}, {RIGHT}][globalThis.count = (globalThis.count ?? -1) + 1]"
    x = np.zeros((1, 3, 8, 8), np.float32)
    with open_session(artifact(tmp_path, f"{{ {FACTS} }}", answers)) as session:
        for _ in results:
            with pytest.raises(RunError):
                session.run(x)
        assert not session.run(x).any(), "the right one"
    assert not left(before)
