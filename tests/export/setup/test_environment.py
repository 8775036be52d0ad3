"""Environments of converters: whole or not at all, pinned completely, and refused in one sentence."""

from __future__ import annotations

import re
import stat
import sys
from pathlib import Path

import pytest
from fdikp_edge.export.setup import environment
from fdikp_edge.export.setup.environment import FACTS, Environment, make
from fdikp_edge.export.setup.table import ENVIRONMENTS, get_environment
from fdikp_edge.runtime.errors import TargetUnavailableError, UnknownNameError


@pytest.fixture
def row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    """An environment that pip can make of nothing but the standard library's `venv`."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "pins.txt").write_text("# nothing\nno-such-thing==1.0\n")
    monkeypatch.setattr(environment.importlib.resources, "files", lambda package: tmp_path)
    return Environment("toy", "a toy", "toy", "pins.txt", (), "json", "no-such-thing", "1 MB")


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_every_package_has_one_version(name: str) -> None:
    requirements = ENVIRONMENTS[name].requirements()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line) for line in requirements)
    names = [line.partition("==")[0].lower() for line in requirements]
    assert len(set(names)) == len(names) and ENVIRONMENTS[name].main in names


@pytest.fixture
def empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Environments without `pip` and without packages: making `pip` takes seconds."""
    monkeypatch.setattr(environment, "MAKE", (*environment.MAKE, "--without-pip"))
    monkeypatch.setattr(environment, "_install", lambda *given: None)


def test_it_is_made_whole_and_kept(row: Environment, empty: None) -> None:
    steps: list[str] = []
    assert row.python() is None and "fdikp-edge setup toy" in str(row.problem())
    folder = make(row, lambda done, total, now: steps.append(now))
    assert row.problem() is None and row.facts()["main"] == "no-such-thing 1.0"
    assert row.python() == folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    assert steps[0] == "making a Python environment" and steps[-1] == "done"
    before = (folder / FACTS).stat().st_mtime_ns
    assert make(row) == folder and (folder / FACTS).stat().st_mtime_ns == before
    assert not stat.S_IMODE(folder.parent.stat().st_mode) & 0o022


def test_what_cannot_be_installed_leaves_nothing(row: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(TargetUnavailableError, match=r"no-such-thing.*pip's own settings"):
        make(row)
    assert row.folder is not None and list(row.folder.parent.iterdir()) == []


def test_a_module_that_does_not_load_leaves_nothing(row: Environment, empty: None) -> None:
    broken = Environment(**{**vars(row), "module": "no_such_module"})
    with pytest.raises(TargetUnavailableError, match="import no_such_module failed"):
        make(broken)
    assert broken.folder is not None and list(broken.folder.parent.iterdir()) == []


def test_another_name_lists_those_that_exist() -> None:
    with pytest.raises(UnknownNameError, match="litert"):
        get_environment("nothing")
