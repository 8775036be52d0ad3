"""The arrows of the house: which room may import which, and that every module can be imported."""

from __future__ import annotations

import ast
import importlib
import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

MAY_IMPORT: dict[str, set[str]] = {
    "package": {"cli"},
    "runtime": set(),
    "models": {"runtime"},
    "calibration": {"runtime", "models"},
    "export": {"runtime", "models", "calibration"},
    "benchmarks": {"runtime", "export"},
    "cli": {"runtime", "models", "calibration", "export", "benchmarks"},
}

FILES = [str(p.relative_to(ROOT)) for room in MAY_IMPORT for p in sorted((ROOT / room).rglob("*.py"))]


def module_of(file: str) -> str:
    """``export/onnx/build.py`` -> ``fdikp_edge.export.onnx.build``; a package keeps its ``__init__``.

    ``package/`` is ``fdikp_edge`` itself.
    """
    return ".".join(("fdikp_edge", *Path(file.removeprefix("package/")).with_suffix("").parts))


def rooms_imported(source: str, module: str) -> set[str]:
    """Return the rooms that ``source`` imports, anywhere in the file, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            relative = "." * node.level + (node.module or "")
            base = importlib.util.resolve_name(relative, module.rpartition(".")[0])
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("fdikp_edge.")}


@pytest.mark.parametrize("file", FILES)
def test_arrows_go_up_the_table_only(file: str) -> None:
    room = Path(file).parts[0]
    wrong = (
        rooms_imported((ROOT / file).read_text(encoding="utf-8"), module_of(file)) - {room} - MAY_IMPORT[room]
    )
    assert not wrong, (
        f"{room} may import {sorted(MAY_IMPORT[room]) or 'nothing of ours'}, not {sorted(wrong)}"
    )


@pytest.mark.parametrize(
    ("line", "room"),
    [
        ("from ..export.targets import TARGETS", "export"),
        ("from .. import cli", "cli"),
        ("import fdikp_edge.models.zoo as zoo", "models"),
        ("from fdikp_edge import calibration", "calibration"),
        ("from fdikp_edge.benchmarks import parity", "benchmarks"),
        ("def f():\n    from ..export import onnx", "export"),
    ],
)
def test_no_way_of_importing_escapes_the_arrow_test(line: str, room: str) -> None:
    assert rooms_imported(line, "fdikp_edge.runtime.artifact") == {room}


def test_a_neighbour_in_the_same_room_is_told_from_another_room() -> None:
    assert rooms_imported("from .passport import Passport", "fdikp_edge.runtime.artifact") == {"runtime"}
    assert rooms_imported("import export\nfrom onnx import checker", "fdikp_edge.runtime.artifact") == set()


@pytest.mark.parametrize("file", [file for file in FILES if not file.endswith("__main__.py")])
def test_every_module_can_be_imported(file: str) -> None:
    importlib.import_module(module_of(file).removesuffix(".__init__"))
