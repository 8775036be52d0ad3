"""Shell completion: installed into a home folder of the test's own, then asked by a real bash."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BASH = shutil.which("bash")
SCRIPTS = Path(sys.executable).parent


@pytest.fixture
def home(tmp_path: Path, program: Any) -> Path:
    """A home folder into which `fdikp-edge --install-completion` wrote for bash."""
    environment = {
        "HOME": str(tmp_path),
        "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",  # the shell is then named, not detected
    }
    done = program("--install-completion", "bash", env=environment)
    assert done.returncode == 0, done.stderr
    return tmp_path


def complete(home: Path, *words: str) -> list[str]:
    """Return what bash offers for the last of ``words``."""
    script = f"""
        source "$HOME/.bashrc"
        COMP_WORDS=(fdikp-edge {" ".join(words)}); COMP_CWORD={len(words)}
        registered=$(complete -p fdikp-edge)
        function=${{registered#*-F }}
        ${{function%% *}} fdikp-edge
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    assert BASH is not None
    done = subprocess.run(
        [BASH, "--norc", "-c", script],
        env={**os.environ, "HOME": str(home), "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.skipif(BASH is None, reason="bash is not installed here")
@pytest.mark.skipif(not (SCRIPTS / "fdikp-edge").exists(), reason="fdikp-edge is not beside this Python")
def test_bash_completes_commands_and_options(home: Path) -> None:
    assert complete(home, "dep") == ["deploy"]
    assert complete(home, "report", "m") == ["merge"]
    assert "--overwrite" in complete(home, "deploy", "--o")


def test_completion_does_not_appear_in_the_help_of_a_command(cli: Any) -> None:
    assert "--install-completion" in cli("--help").stdout
    assert "--install-completion" not in cli("deploy", "--help").stdout
