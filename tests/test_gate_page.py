"""docs/gate.md, followed from its first line to the last, after the README's main job."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
RED = "# exits with 1"
# What is tested is that it works; figures are for a quiet machine.
QUICKER = {
    "gate": ["--threads", "1", "--seconds", "1"],
    "bisect": ["--threads", "1"],
    "verify": ["--tries", "4"],
}


def test_the_way_of_the_page(deployed: Path, readme: Any) -> None:
    shown = {}
    for kind, body in BLOCKS:
        if kind == "python":
            (readme.folder / "change.py").write_text(body, encoding="utf-8")
            done = readme.shell("python change.py")
            assert done.returncode == 0, done.stderr
        for command in body.splitlines() if kind == "shell" else ():
            words = shlex.split(command, comments=True)
            done = readme.shell(shlex.join([*words, *QUICKER.get(words[1], [])]))
            assert done.returncode == (1 if RED in command else 0), command + done.stdout + done.stderr
            shown[words[1], RED in command] = done
    assert "model.dikp.reduce" in shown["bisect", True].stdout
    assert "picture" in shown["gate", True].stderr and "--against" in shown["gate", True].stderr
    assert "<testsuite" in (readme.folder / "gate.xml").read_text(encoding="utf-8")
    assert (readme.folder / "build" / "tiny-onnx-fp32-256x256.worst.png").exists()


def test_our_own_workflow_is_the_one_on_the_page() -> None:
    (block,) = [body for kind, body in BLOCKS if kind == "yaml"]
    assert (ROOT / ".github" / "workflows" / "gate.yml").read_text(encoding="utf-8") == block


def test_the_workflow_asks_for_options_that_exist(readme: Any) -> None:
    (block,) = [body for kind, body in BLOCKS if kind == "yaml"]
    asked = re.findall(r"bin/fdikp-edge (\w+) (.*)$", block, re.MULTILINE)
    assert [command for command, _ in asked] == ["deploy", "gate", "deploy", "gate"]
    for command in ("deploy", "gate"):
        known = set(re.findall(r"--[a-z-]+", readme.shell(f"fdikp-edge {command} --help").stdout))
        for other, words in asked:
            assert other != command or set(re.findall(r"--[a-z-]+", words)) <= known


@pytest.mark.parametrize("name", ["state", "parity", "golden", "picture", "size", "memory", "latency"])
def test_every_check_is_explained(name: str) -> None:
    assert f"| `{name}` |" in PAGE
