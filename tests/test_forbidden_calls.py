"""The product holds no call that would run what a file or an argument says."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("package", "runtime", "models", "calibration", "export", "benchmarks", "cli")
FORBIDDEN_NAMES = {"eval", "exec", "__import__", "execfile"}
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "yaml"}
THE_ONE_PLACE = ("models/sources/imports.py:", "exec()")
"""Where a file of code is imported because a user typed its name in this command."""
FORBIDDEN_CALLS = {("os", "system"), ("os", "popen"), ("subprocess", "getoutput")}


def faults(source: str) -> list[str]:
    """Return what a program may not hold, with its line."""
    wrong: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = (
                [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            )
            wrong += [f"{node.lineno}: import {n}" for n in names if n.split(".")[0] in FORBIDDEN_MODULES]
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        if isinstance(called, ast.Name) and called.id in FORBIDDEN_NAMES:
            wrong.append(f"{node.lineno}: {called.id}()")
        if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
            if (called.value.id, called.attr) in FORBIDDEN_CALLS:
                wrong.append(f"{node.lineno}: {called.value.id}.{called.attr}()")
            if (called.value.id, called.attr) == ("torch", "load") and not _says(node, "weights_only", True):
                wrong.append(f"{node.lineno}: torch.load without weights_only=True")
            if (called.value.id, called.attr) == ("np", "load") and not _says(node, "allow_pickle", False):
                wrong.append(f"{node.lineno}: np.load without allow_pickle=False")
        if any(word.arg == "shell" and not _is(word.value, False) for word in node.keywords):
            wrong.append(f"{node.lineno}: shell=")
        if any(word.arg == "allow_pickle" and not _is(word.value, False) for word in node.keywords):
            wrong.append(f"{node.lineno}: allow_pickle=")
    return wrong


def _says(call: ast.Call, name: str, value: bool) -> bool:
    return any(word.arg == name and _is(word.value, value) for word in call.keywords)


def _is(node: ast.expr, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


@pytest.mark.parametrize("room", ROOMS)
def test_nothing_runs_what_a_file_says(room: str) -> None:
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    wrong = [
        f"{file.relative_to(ROOT)}:{fault}" for file in files for fault in faults(file.read_text("utf-8"))
    ]
    wrong = [
        fault
        for fault in wrong
        if not (fault.startswith(THE_ONE_PLACE[0]) and fault.endswith(THE_ONE_PLACE[1]))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "line",
    [
        "eval('1')",
        "import pickle",
        "from pickle import loads",
        "os.system('x')",
        "subprocess.run('x', shell=True)",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "np.load(f)",
        "np.load(f, allow_pickle=True)",
        "exec(code, {})",
    ],
)
def test_each_kind_is_noticed(line: str) -> None:
    assert faults(line)
