from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fdikp_edge.models.fdikp.variants import VARIANTS

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


def test_help_answers_at_once(program: Any, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="processor time of a child is told by Unix only")

    # An installed program is compiled once; a machine that writes no bytecode would compile it each time.
    env = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path / "bytecode")}

    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert program("--help", env=env).returncode == 0
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


@pytest.mark.parametrize("command", ["deploy", "export", "calibrate"])
def test_help_and_readme_say_which_sizes_the_variants_take(command: str, cli: Any) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8").replace("*", "")
    for text in (cli(command, "--help").stdout, readme):
        words = " ".join(text.split())
        for name, variant in VARIANTS.items():
            (rule,) = re.findall(
                rf"for [^.]*?\b{name}\b[^.,]*?multiple of (\d+) and at least (\d+)", words, re.I
            )
            assert (variant.size.multiple_of, variant.size.minimum) == tuple(map(int, rule))


def test_no_command_shows_the_help(cli: Any) -> None:
    done = cli()
    assert "deploy" in done.stdout + done.stderr


def test_version(cli: Any) -> None:
    assert cli("--version").stdout == "fdikp-edge 0.1.0\n"


def test_nothing_heavy_is_imported_before_a_command_runs() -> None:
    script = (
        "import sys, fdikp_edge.cli.main;"
        "heavy = {'torch', 'numpy', 'onnx', 'onnxruntime', 'openvino', 'PIL', 'rich', 'jinja2',"
        "'importlib.metadata'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
