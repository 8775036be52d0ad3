"""``fdikp_edge`` itself: its version, ``python -m fdikp_edge``, and that importing it costs nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import fdikp_edge
import pytest
from fdikp_edge.export.device.wheel import device_wheel


def run(*args: str, path: str = "", folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *args],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path},
    )


def test_version_is_the_installed_one() -> None:
    assert fdikp_edge.__version__ == version("fdikp-edge")


def test_a_name_it_does_not_have_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'fdikp_edge' has no attribute 'versoin'"):
        fdikp_edge.versoin  # noqa: B018


def test_import_loads_no_room_and_no_metadata(tmp_path: Path) -> None:
    script = (
        "import sys; before = set(sys.modules); import fdikp_edge; new = set(sys.modules) - before;"
        "print(sorted(name for name in new if name.startswith(('fdikp_edge.', 'importlib.m'))))"
    )
    assert run("-c", script, folder=tmp_path).stdout == "[]\n"


def test_it_runs_as_a_module(tmp_path: Path) -> None:
    done = run("-m", "fdikp_edge", "--version", folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"fdikp-edge {version('fdikp-edge')}\n"), done.stderr


def test_an_error_keeps_its_exit_code_when_run_as_a_module(tmp_path: Path) -> None:
    done = run("-m", "fdikp_edge", "inspect", "nothing-here", folder=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("fdikp-edge: error: "), done.stderr


def test_the_device_wheel_comes_before_an_installation_further_down(tmp_path: Path) -> None:
    name, data = device_wheel()
    first, second = tmp_path / "first", tmp_path / "second"
    (tmp_path / name).write_bytes(data)
    command = ("-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(first))
    assert run(*command, str(tmp_path / name)).returncode == 0
    program = "fdikp_edge/cli/device/program.py"
    for file in ("fdikp_edge/__init__.py", "fdikp_edge/cli/__init__.py", program):
        (second / file).parent.mkdir(parents=True, exist_ok=True)
        (second / file).touch()
    script = (
        "import fdikp_edge, fdikp_edge.cli.device.program as d;"
        " print(d.__file__); print(fdikp_edge.__version__)"
    )
    done = run("-c", script, path=os.pathsep.join(map(str, (first, second))), folder=tmp_path)
    wanted = [str(first / program), f"{version('fdikp-edge')}+device"]
    assert done.stdout.splitlines() == wanted, done.stderr
