from __future__ import annotations

import errno
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from fdikp_edge.cli.guard import complain, guarded
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.errors import (
    CheckFailedError,
    FdikpEdgeError,
    OutputError,
    OutputExistsError,
    SizeError,
)


def exit_code(command: Callable[[], int]) -> int:
    try:
        guarded(command)()
    except typer.Exit as leaving:
        return leaving.exit_code
    return 0


def raising(error: BaseException) -> Callable[[], int]:
    def command() -> int:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (SizeError("size 3x3 is odd"), 2, "size 3x3 is odd"),
        (CheckFailedError("40 dB"), 1, "40 dB"),
        (FdikpEdgeError("no"), 2, "no"),
        (KeyboardInterrupt(), 130, "stopped"),
        (MemoryError(), 2, "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 2, "out of memory"),
        (OSError(errno.ENOSPC, "No space left on device", "out"), 2, "out: No space left on device"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), 2, "fdikp-edge[export]"),
        (ModuleNotFoundError("No module named 'openvino.x'", name="openvino.x"), 2, "fdikp-edge[openvino]"),
    ],
)
def test_errors_become_a_message_and_a_code(
    error: BaseException, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(raising(error)) == code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert message in shown.err
    assert shown.err.count("\n") == 1


def test_the_return_value_is_the_exit_code() -> None:
    assert exit_code(lambda: 0) == 0
    assert exit_code(lambda: 1) == 1


def test_the_option_is_named_for_what_exists_already_and_for_nothing_else(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for error, named in {
        OutputExistsError("x: in any words"): True,
        OutputError("x: not overwritten: it is no artifact; remove it first"): False,
    }.items():
        assert exit_code(raising(error)) == 2
        assert ("(option --overwrite)" in capsys.readouterr().err) == named


@pytest.mark.parametrize("error", [ValueError("ours"), ModuleNotFoundError("x", name="fdikp_edge.lost")])
def test_our_own_mistakes_keep_their_traceback(error: Exception) -> None:
    with pytest.raises(type(error)):
        guarded(raising(error))()


def test_our_warnings_are_shown_once_and_those_of_libraries_not(capsys: pytest.CaptureFixture[str]) -> None:
    ours = type("OurWarning", (UserWarning,), {"__module__": "fdikp_edge.models.zoo"})

    def command() -> int:
        for _ in range(2):
            warnings.warn("weights are untrained", ours, stacklevel=1)
            warnings.warn("a library will change", FutureWarning, stacklevel=1)
        return 0

    assert exit_code(command) == 0
    assert capsys.readouterr().err == "fdikp-edge: note: weights are untrained\n"


def unheard(*words: str) -> tuple[int, str]:
    """Run the program with a reader that is gone before it writes; return its exit code and stderr."""
    command = [sys.executable, "-m", "fdikp_edge.cli", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout and process.stderr
    process.stdout.close()
    printed = process.stderr.read()
    return process.wait(60), printed


def test_a_reader_that_leaves_early_is_no_error(artifact: Any) -> None:
    assert unheard("inspect", str(artifact)) == (0, "")


def test_a_reader_that_leaves_early_does_not_hide_a_failed_check(make_artifact: Any) -> None:
    wrong = make_artifact(golden=0.4)
    code, printed = unheard("verify", str(wrong), "--golden", "--threads", "1")
    assert code == 1 and "failed" in printed
    assert Artifact.open(wrong).passport.state == "failed"


@pytest.mark.skipif(os.name == "nt", reason="closing a stream for a program is a matter of its shell")
def test_closed_streams_are_no_error(artifact: Any) -> None:
    program = f'"{sys.executable}" -m fdikp_edge.cli'
    done = subprocess.run(f'{program} inspect "{artifact}" <&- >&-', shell=True, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"")
    assert subprocess.run(f"{program} inspect nowhere <&- >&- 2>&-", shell=True).returncode == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_an_error_that_cannot_be_printed_keeps_its_exit_code() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "fdikp_edge.cli", "inspect", "nowhere"], stderr=full, timeout=120
        )
    assert done.returncode == 2


def test_a_name_cannot_look_like_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    complain("x.png\nfdikp-edge: note: all verified\u202e: is damaged")
    shown = capsys.readouterr().err
    assert shown == "fdikp-edge: error: x.png\n    fdikp-edge: note: all verified : is damaged\n"
