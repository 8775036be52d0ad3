"""`serve`: the page of a web artifact, until Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from fdikp_edge.runtime.artifact import ArtifactWriter
from fdikp_edge.runtime.passport import Passport, TensorContract


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    picture = TensorContract(
        name="image",
        shape=(1, 3, 8, 8),
        dtype="float32",
        layout="NCHW",
        value_range=(0, 1),
        color_space="sRGB",
    )
    with ArtifactWriter(tmp_path / "served") as writer:
        (writer.folder / "index.html").write_text("<p>the page</p>")
        (writer.folder / "model.onnx").write_bytes(b"model")
        passport = Passport(
            model="net", weights_sha256="a" * 64, program_sha256="b" * 64, target="web", precision="fp32",
            inputs=(picture,), outputs=(picture,), model_file="model.onnx",
        )  # fmt: skip
        return writer.commit(passport).path


def test_the_page_is_served_until_ctrl_c(folder: Path) -> None:
    # A shell starts what runs in the background deaf to Ctrl-C, and that is inherited, also by this test.
    script = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "from fdikp_edge.cli.start import run; run()"
    )
    command = [sys.executable, "-c", script, "serve", str(folder), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[0]
        with urllib.request.urlopen(url, timeout=30) as answer:
            assert answer.read() == b"<p>the page</p>"
            assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, errors) == (0, "")


def test_what_cannot_be_served_is_one_line(cli: Any, make_artifact: Any, tmp_path: Path) -> None:
    for place, words in ((make_artifact(), "holds no page"), (tmp_path / "none", "no such folder")):
        done = cli("serve", place)
        assert done.returncode == 2
        assert words in done.stderr and "Traceback" not in done.stderr
