"""docs/your-network.md, step by step."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

pytest.importorskip("torch")

PAGE = Path(__file__).resolve().parents[2] / "docs" / "your-network.md"
Cli = Callable[..., "CompletedProcess[str]"]


def test_every_step_of_the_page(cli: Cli, tmp_path: Path) -> None:
    from fdikp_edge.runtime.images import read_photo
    from fdikp_edge.runtime.samples import sample_photo

    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (code,) = (body for kind, body in blocks if kind == "python")
    (tmp_path / "net.py").write_text(code)
    shutil.copy(sample_photo("coffee"), tmp_path / "photo.jpg")
    (tmp_path / "photos").mkdir()
    for name in ("coffee", "chelsea"):
        shutil.copy(sample_photo(name), tmp_path / "photos")
    lines = [line for kind, body in blocks if kind == "shell" for line in body.splitlines() if line.strip()]
    assert len(lines) >= 9
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "fdikp-edge"
        if words[0] in ("deploy", "verify", "bisect"):
            words += ["--threads", "1"]
        if words[0] == "deploy":
            words += ["--seconds", "1"]
        if "int8" in words:
            # Where sums of 8-bit products saturate, 7-bit weights are the right choice.
            words = ["onnx:weights=7bit" if word == "onnx" else word for word in words]
        done = cli(*words)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    assert read_photo(tmp_path / "clean.png").grey
    assert read_photo(tmp_path / "clean.png").pixels.shape == read_photo(tmp_path / "photo.jpg").pixels.shape
