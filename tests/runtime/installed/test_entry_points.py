"""What other installed packages add, found by their metadata and loaded by name only."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fdikp_edge.runtime.artifact import Artifact, ArtifactWriter
from fdikp_edge.runtime.errors import ArtifactError, ExtensionError
from fdikp_edge.runtime.installed import entry_points
from fdikp_edge.runtime.sessions import open_session, open_stand_in
from runtime_networks import passport

GROUP = "fdikp_edge.test_group"
SESSION = """
import types
from fdikp_edge.runtime.sessions import Session

class Twice(Session):
    def _run(self, arrays): return {"deblurred": 2 * arrays["image"]}
    def describe(self): return {"runtime": "twice"}
    def close(self): pass

ROW = types.SimpleNamespace(session=%r)
"""


def package(folder: Path, name: str, module: str, group: str = GROUP, entry: str = "thing") -> None:
    """Lay a package out as an installation does: a module, and metadata with one entry point."""
    (folder / f"{name}.py").write_text(module, encoding="utf-8")
    facts = folder / f"{name}-2.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.0\n")
    (facts / "entry_points.txt").write_text(f"[{group}]\n{entry} = {name}:ROW\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages, on this process's path."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return folder


def test_names_are_listed_without_importing(site: Path) -> None:
    assert entry_points.names(GROUP) == []
    assert entry_points.load(GROUP, "thing") is None


def test_an_entry_is_loaded_when_it_is_named(site: Path) -> None:
    package(site, "pkg_good", "ROW = ('a', 'value')")
    assert entry_points.names(GROUP) == ["thing"] and "pkg_good" not in sys.modules
    assert entry_points.origin(GROUP, "thing") == "pkg_good 2.0"
    assert entry_points.load(GROUP, "thing") == ("a", "value")
    assert entry_points.load(GROUP, "other") is None


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise OSError('libfoo.so is missing')", r"pkg_bad 2\.0.*OSError: libfoo"),
        ("", "pkg_bad 2.0.*AttributeError"),
        ("raise SystemExit('this module is a script')", "pkg_bad 2.0.*SystemExit"),
        ("def f(:", "pkg_bad 2.0.*SyntaxError"),
    ],
)
def test_an_entry_that_cannot_be_loaded_names_its_distribution(
    code: str, reason: str, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(site, "pkg_bad", code)
    monkeypatch.delitem(sys.modules, "pkg_bad", raising=False)
    with pytest.raises(ExtensionError, match=reason):
        entry_points.load(GROUP, "thing")


def test_two_distributions_with_one_name_are_both_named(site: Path) -> None:
    package(site, "pkg_one", "ROW = 1")
    package(site, "pkg_two", "ROW = 2")
    with pytest.raises(ExtensionError, match=r"pkg_one 2\.0 and pkg_two 2\.0.*uninstall all but one"):
        entry_points.load(GROUP, "thing")


def artifact_for(target: str, folder: Path) -> Path:
    facts = passport(target=target)
    with ArtifactWriter(folder / "artifact") as writer:
        (writer.folder / facts.model_file).touch()
        return writer.commit(facts).path


def test_a_session_is_read_from_the_row_without_the_export_room(site: Path, tmp_path: Path) -> None:
    package(site, "pkg_twice", SESSION % "pkg_twice:Twice", entry_points.TARGETS, "twice")
    code = (
        "import sys, numpy as np\n"
        "from fdikp_edge.runtime.sessions import open_session, open_stand_in\n"
        "with open_session(sys.argv[1]) as session:\n"
        "    x = np.ones(session.input.shape, session.input.dtype)\n"
        "    print((session.run(x) == 2).all(), open_stand_in(session.artifact))\n"
        "print([name for name in sys.modules if name.startswith('fdikp_edge.export')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(artifact_for("twice", tmp_path))],
        env={"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.splitlines() == ["True None", "[]"], done.stderr


@pytest.mark.parametrize(
    ("name", "reference", "reason"),
    [
        ("pkg_lost", "no_such_module:Twice", "ModuleNotFoundError"),
        ("pkg_none", "pkg_none:Nothing", "AttributeError"),
        ("pkg_type", "pkg_type:ROW", "is no Session"),
        ("pkg_word", 7, "AttributeError"),
    ],
)
def test_a_session_that_cannot_be_loaded_names_the_package(
    name: str, reference: object, reason: str, site: Path, tmp_path: Path
) -> None:
    package(site, name, SESSION % reference, entry_points.TARGETS, "odd")
    path = artifact_for("odd", tmp_path)
    with pytest.raises(ExtensionError, match=rf"'odd' is provided by {name} 2\.0.*{reason}"):
        open_session(path)


def test_an_artifact_of_this_project_imports_no_other_package(site: Path, tmp_path: Path) -> None:
    package(site, "pkg_taker", "raise RuntimeError('imported')", entry_points.TARGETS, "onnx")
    artifact = Artifact.open(artifact_for("onnx", tmp_path))
    assert open_stand_in(artifact) is None
    with pytest.raises(ArtifactError):  # an empty model
        open_session(artifact)
    assert "pkg_taker" not in sys.modules
