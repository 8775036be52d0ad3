from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

COMMANDS = [
    "deploy",
    "export",
    "verify",
    "bench",
    "bisect",
    "gate",
    "run",
    "profile",
    "bundle",
    "lower",
    "inspect",
    "doctor",
]


def test_help_answers_at_once(program: Any) -> None:
    resource = pytest.importorskip("resource", reason="processor time of a child is told by Unix only")

    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert program("--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    # Processor time, which is what it takes on a machine that does nothing else, and the best of several.
    assert min(seconds() for _ in range(5)) < 0.35


def test_help_names_every_command_and_what_to_type(cli: Any) -> None:
    text = cli("--help").stdout
    for command in COMMANDS:
        assert f"\n  {command} " in text
    assert "fdikp-edge deploy" in text and "Exit codes" in text
    assert "..." not in text.split("Commands:")[1].split("\n\n")[0], "a summary is cut short"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_examples(command: str, cli: Any) -> None:
    done = cli(command, "--help")
    assert done.returncode == 0
    assert "Examples:" in done.stdout and f"  fdikp-edge {command}" in done.stdout
    assert "--json" in done.stdout


def test_no_command_shows_the_help(cli: Any) -> None:
    done = cli()
    assert "deploy" in done.stdout + done.stderr


def test_version(cli: Any) -> None:
    assert cli("--version").stdout == "fdikp-edge 0.1.0\n"


def test_nothing_heavy_is_imported_before_a_command_runs() -> None:
    script = (
        "import sys, fdikp_edge.cli.main;"
        "heavy = {'torch', 'numpy', 'onnx', 'onnxruntime', 'openvino', 'PIL', 'rich', 'jinja2'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
