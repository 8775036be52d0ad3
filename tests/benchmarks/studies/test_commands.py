"""The study of all commands: what it says of a command that works, one that refuses, and one that breaks."""

from __future__ import annotations

from pathlib import Path

from fdikp_edge.benchmarks.studies.commands import show, try_commands


def test_verdicts_and_the_table(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise RuntimeError('in the user\\'s own code')\n")
    commands = {
        "doctor": lambda at: ("doctor",),
        "inspect": lambda at: ("inspect", at.artifact("fp32")),
        "export": lambda at: ("export", *at.network, "--target", "onnx"),
    }
    networks = {"mine": ("--model", str(tmp_path / "broken.py") + ":Net", "--size", "64x64")}
    result = try_commands(networks, tmp_path / "work", commands=commands, limit=120)
    verdicts = {cell["command"]: cell["verdict"] for cell in result["networks"]["mine"]["cells"]}
    assert verdicts == {"doctor": "ok", "inspect": "told", "export": "told"}
    assert result["faults"] == []
    text = show(result)
    assert "| `inspect` | told |" in text and "no such folder" in text and "No traceback" in text


def test_a_command_that_does_not_end_is_a_fault(tmp_path: Path) -> None:
    commands = {"doctor": lambda at: ("doctor",)}
    result = try_commands({"mine": ()}, tmp_path / "work", commands=commands, limit=0.01)
    assert result["networks"]["mine"]["cells"][0]["verdict"] == "TIMEOUT"
    assert len(result["faults"]) == 1 and "did not end" in show(result)
