"""Which room may import which, no circle between files, no crowded room, and every module can be imported."""

from __future__ import annotations

import ast
import importlib
import importlib.util
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

MAY_IMPORT: dict[str, set[str]] = {
    "package": {"cli"},
    "runtime": set(),
    "models": {"runtime"},
    "calibration": {"runtime", "models"},
    "export": {"runtime", "models", "calibration"},
    "benchmarks": {"runtime", "models", "calibration", "export"},
    "cli": {"runtime", "models", "calibration", "export", "benchmarks"},
}

MOST_FILES = 20
"""Modules on one level of a room, `__init__.py` not counted. A room that outgrows this gets a sub-room."""

FILES = [str(p.relative_to(ROOT)) for room in MAY_IMPORT for p in sorted((ROOT / room).rglob("*.py"))]


def module_of(file: str) -> str:
    """``export/onnx/build.py`` -> ``fdikp_edge.export.onnx.build``; a package keeps its ``__init__``.

    ``package/`` is ``fdikp_edge`` itself.
    """
    return ".".join(("fdikp_edge", *Path(file.removeprefix("package/")).with_suffix("").parts))


def is_for_types_only(node: ast.AST) -> bool:
    """Whether a statement is ``if TYPE_CHECKING:``, whose block never runs."""
    if not isinstance(node, ast.If):
        return False
    test = node.test
    return (test.id if isinstance(test, ast.Name) else getattr(test, "attr", "")) == "TYPE_CHECKING"


def running_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes under ``node``, also inside functions, except the blocks for type checkers."""
    for child in ast.iter_child_nodes(node):
        if is_for_types_only(child):
            assert isinstance(child, ast.If)
            for statement in child.orelse:
                yield statement
                yield from running_nodes(statement)
        else:
            yield child
            yield from running_nodes(child)


def modules_imported(source: str, module: str, known: Iterable[str]) -> set[str]:
    """Return which of the ``known`` modules the file of ``module`` imports when it runs.

    ``known`` and ``module`` are dotted; a package is its ``__init__``. ``from package import name`` counts as
    the module ``package.name`` where there is one, and otherwise as the package's ``__init__``.
    """
    known = set(known)
    imported: set[str] = set()
    for node in running_nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            relative = "." * node.level + (node.module or "")
            base = importlib.util.resolve_name(relative, module.rpartition(".")[0])
            full = [f"{base}.{alias.name}" for alias in node.names]
            names = [name if known & {name, f"{name}.__init__"} else base for name in full]
        else:
            continue
        imported |= {name if name in known else f"{name}.__init__" for name in names}
    return imported & known


def circles(imports: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that import each other, directly or through others."""
    reached: dict[str, set[str]] = {}
    for module in imports:
        seen, waiting = set[str](), [module]
        while waiting:
            for other in imports.get(waiting.pop(), set()) - seen:
                seen.add(other)
                waiting.append(other)
        reached[module] = seen
    groups = {
        frozenset(other for other in reached[module] if module in reached[other])
        for module in imports
        if module in reached[module]
    }
    return sorted(sorted(group) for group in groups)


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


def test_no_files_import_each_other_in_a_circle() -> None:
    known = [module_of(file) for file in FILES]
    sources = {module_of(file): (ROOT / file).read_text(encoding="utf-8") for file in FILES}
    imports = {module: modules_imported(source, module, known) for module, source in sources.items()}
    assert sum(map(len, imports.values())) > len(FILES), "imports are not being read"
    assert circles(imports) == []


def test_a_circle_is_found_and_imports_for_types_are_not_part_of_it() -> None:
    known = {f"fdikp_edge.export.{name}" for name in ("__init__", "a", "b", "onnx.__init__", "onnx.build")}
    module = "fdikp_edge.export.a"
    for line, expected in {
        "def f():\n    from .b import x": "b",
        "from . import b": "b",
        "from .onnx import build": "onnx.build",
        "from .onnx import BuildResult": "onnx.__init__",
        "from . import onnx": "onnx.__init__",
        "import fdikp_edge.export.b as b": "b",
        "if TYPE_CHECKING:\n    from .b import x\nelse:\n    from .onnx import build": "onnx.build",
    }.items():
        assert modules_imported(line, module, known) == {f"fdikp_edge.export.{expected}"}, line
    assert (
        modules_imported("import typing\nif typing.TYPE_CHECKING:\n    from . import b", module, known)
        == set()
    )
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_room_is_crowded() -> None:
    counts = Counter(str(Path(file).parent) for file in FILES if Path(file).name != "__init__.py")
    crowded = {room: count for room, count in counts.items() if count > MOST_FILES}
    assert not crowded, f"more than {MOST_FILES} files on one level; give them sub-rooms: {crowded}"


@pytest.mark.parametrize("file", [file for file in FILES if not file.endswith("__main__.py")])
def test_every_module_can_be_imported(file: str) -> None:
    importlib.import_module(module_of(file).removesuffix(".__init__"))
