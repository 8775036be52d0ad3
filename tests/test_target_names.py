"""No file knows a target by its name, but the target's own folder, the table, and the sessions.

A name is a string literal that equals it. What has to use one is listed here with the reason.
"""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest
from fdikp_edge.export.targets import TARGETS

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("runtime", "models", "calibration", "export", "benchmarks", "cli")

HOMES = {f"export/{row.builder.split('.')[1]}/" for row in TARGETS.values()} | {"runtime/sessions/"}
"""The targets' own folders, and the table of sessions that a device has."""

ALLOWED: dict[str, tuple[set[str], str]] = {
    "runtime/installed/packages.py": ({"onnx"}, "the Python package of this name"),
    "runtime/tensorrt/features.py": ({"tensorrt", "tensorrt-rtx"}, "NVIDIA's two products"),
    "runtime/device/engine_artifact.py": (
        {"tensorrt"},
        "devices build with TensorRT, and have no target table",
    ),
    "runtime/device/missing.py": ({"tensorrt"}, "the Python module that a device builds with"),
    "runtime/device/trtexec.py": ({"tensorrt"}, "the product whose command line it writes"),
    "export/device/bundle.py": ({"onnx"}, "what a device is handed to build from"),
    "benchmarks/timing/board.py": ({"tensorrt"}, "the Python module whose version it reports"),
    "benchmarks/script.py": ({"onnx"}, "the artifact that benchmark programs measure by default"),
    "benchmarks/studies/": (set(TARGETS), "programs that compare certain runtimes, which they name"),
}
"""File, or folder -> the names that are in it, and why they have to be."""


def names_in(source: str) -> set[str]:
    """Return the target names that are string literals in a file."""
    return {node.value for node in ast.walk(ast.parse(source)) if _is_name(node)}


def _is_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in TARGETS


@functools.cache
def _files() -> list[tuple[str, set[str]]]:
    """Return every file outside the homes, with the names in it."""
    files = [path.relative_to(ROOT).as_posix() for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    return [
        (file, names_in((ROOT / file).read_text(encoding="utf-8")))
        for file in sorted(files)
        if not file.startswith(tuple(HOMES))
    ]


def test_no_file_knows_a_target_by_name() -> None:
    offenders = {}
    for file, names in _files():
        allowed = set().union(*(names for place, (names, _) in ALLOWED.items() if file.startswith(place)))
        if names - allowed:
            offenders[file] = sorted(names - allowed)
    assert not offenders, "put what depends on a target into its row (export/target.py)"


@pytest.mark.parametrize("place", ALLOWED)
def test_nothing_is_allowed_that_no_file_needs(place: str) -> None:
    used = set().union(*(names for file, names in _files() if file.startswith(place)))
    assert used == ALLOWED[place][0] or (place.endswith("/") and used), "shorten the list"


def test_a_name_is_found_wherever_it_is_used() -> None:
    assert names_in('def f(x): return {"onnx": 1}.get(x) if x == "coreml" else TABLE["tensorrt-rtx"]') == {
        "onnx",
        "coreml",
        "tensorrt-rtx",
    }
    assert names_in('"""onnx is spoken of here."""\nimport onnx\nx = "an onnx file"') == set()
