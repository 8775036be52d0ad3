import ast
import importlib
import warnings
from pathlib import Path

import pytest
from fdikp_edge.runtime import program
from fdikp_edge.runtime.errors import BadInputError, CheckFailedError

ROOMS = [f"fdikp_edge.{name}" for name in ("runtime", "models", "calibration", "export", "benchmarks", "cli")]


def left(capsys: pytest.CaptureFixture[str], error: BaseException, **options: str) -> tuple[object, str]:
    def main() -> None:
        warnings.warn("of a library", UserWarning, stacklevel=1)
        raise error

    with pytest.raises(SystemExit) as raised:
        program.run(main, **options)
    return raised.value.code, capsys.readouterr().err


def test_errors_become_a_message_and_a_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert left(capsys, BadInputError("no such photo")) == (2, "error: no such photo\n")
    assert left(capsys, CheckFailedError("too far off")) == (1, "error: too far off\n")
    assert left(capsys, KeyboardInterrupt()) == (130, "")
    assert left(capsys, KeyboardInterrupt(), interrupted="goes on") == (130, "goes on\n")


def test_what_the_system_refuses_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    full = OSError(28, "No space left on device", "steps.csv")
    assert left(capsys, full) == (2, "error: steps.csv: No space left on device\n")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"
        ),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_memory_that_is_refused_is_one_message(
    capsys: pytest.CaptureFixture[str], error: BaseException
) -> None:
    code, printed = left(capsys, error)
    assert code == 2 and printed.startswith("error: out of memory; ") and printed.count("\n") == 1


def test_a_missing_library_says_what_to_install(capsys: pytest.CaptureFixture[str]) -> None:
    code, printed = left(capsys, ModuleNotFoundError("…", name="skimage"), extra="train")
    assert code == 2
    assert (
        printed == 'error: this needs skimage, which is not installed here: pip install "fdikp-edge[train]"\n'
    )


def test_mistakes_of_ours_are_not_hidden() -> None:
    def wrong() -> None:
        raise ZeroDivisionError

    def module() -> None:
        raise ModuleNotFoundError("…", name="fdikp_edge.nowhere")

    def shapes() -> None:
        raise RuntimeError("The size of tensor a must match the size of tensor b")

    kinds = (ZeroDivisionError, ModuleNotFoundError, RuntimeError)
    for main, kind in zip((wrong, module, shapes), kinds, strict=True):
        with pytest.raises(kind):
            program.run(main)


def test_results_are_printed_for_whoever_still_reads_them() -> None:
    rooms = [Path(room.__file__).parent for room in map(importlib.import_module, ROOMS) if room.__file__]
    bare = [
        f"{file}:{call.lineno}"
        for room in rooms
        for file in room.rglob("*.py")
        # compare.py stands alone in a bundle
        if "studies" not in file.parts
        and "tests" not in file.parts
        and file.name not in ("program.py", "compare.py")
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "print"
        if not any(word.arg == "file" for word in call.keywords)
    ]
    assert not bare, "print() raises where the reader has left: use put() of runtime/program.py"
