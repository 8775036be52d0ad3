"""Runs the builder of an engine in a process of its own, and says how that ended.

A builder is native code that may take its process with it, and takes so much memory that the kernel ends it
where that runs out. The parent keeps nothing on the device meanwhile, and everything logged until the end is
in a file. :mod:`.builder` is the other side.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import (
    ArtifactError,
    CheckFailedError,
    DeviceError,
    FdikpEdgeError,
    OutputError,
    TargetUnavailableError,
)
from ..strict_json import printable
from .build_log import BuildLog
from .memory import oom_kills

BUILDER = "fdikp_edge.runtime.device.builder"
REQUEST, ANSWER = "request.json", "answer.json"

_ERRORS: Mapping[str, type[FdikpEdgeError]] = {
    kind.__name__: kind
    for kind in (ArtifactError, CheckFailedError, DeviceError, OutputError, TargetUnavailableError)
}
_LAST = 3
"""How many of the last messages the error of a crash repeats."""


@dataclass(frozen=True)
class Request:
    """What to build: absolute paths to read (``artifact``, ``timings``) and to write (``engine``, ``learnt``,
    ``log``), and the settings of :class:`.build.Settings`."""

    artifact: str
    engine: str
    learnt: str
    log: str
    timings: str | None = None
    weak: str | None = None
    workspace_mib: int | None = None


@dataclass
class Answer:
    """What came of it. ``kind`` names the error whose message ``problem`` is; ``unwritten`` is the system's
    error number for an engine that could not be written. ``peak_mb``: the most memory the builder held, in
    10^6 bytes."""

    version: str = ""
    device: str = ""
    capability: tuple[int, int] = (0, 0)
    peak_mb: float | None = None
    kind: str = ""
    problem: str = ""
    unwritten: int = 0


def run_builder(request: Request, log: BuildLog) -> Answer:
    """Build in another process; its messages are in ``log`` afterwards, however it ended.

    Raises:
        CheckFailedError: the builder failed, was killed or crashed; says which, with its last messages.
        ArtifactError, DeviceError, OutputError, TargetUnavailableError: what the builder's process raised.
        OSError: the engine could not be written.
    """
    place = Path(request.log)
    try:
        start = place.stat().st_size if place.exists() else 0
        output = place.open("ab")
    except OSError as error:
        raise OutputError(f"{place}: cannot be written: {error.strerror or error}") from error
    kills = oom_kills()
    with tempfile.TemporaryDirectory(prefix="fdikp-edge-") as scratch, output:
        (Path(scratch) / REQUEST).write_text(json.dumps(asdict(request)), encoding="utf-8")
        try:
            done = subprocess.run(
                [sys.executable, *(["-B"] if sys.dont_write_bytecode else []), "-m", BUILDER, scratch],
                cwd=scratch,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(_search_path())},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        finally:
            log.read(place, start)
        with contextlib.suppress(OSError, ValueError, TypeError):
            answer = Answer(**json.loads((Path(scratch) / ANSWER).read_text(encoding="utf-8")))
            if answer.unwritten:
                raise OSError(answer.unwritten, os.strerror(answer.unwritten), request.engine) from None
            if answer.kind:
                raise _ERRORS.get(answer.kind, CheckFailedError)(answer.problem)
            return answer
    now = oom_kills()
    raise CheckFailedError(
        f"{request.artifact}: the TensorRT builder "
        + how_it_ended(done.returncode, killed_for_memory=None if None in (kills, now) else kills != now)
        + _quoted(log)
    )


def how_it_ended(returncode: int, *, killed_for_memory: bool | None = None) -> str:
    """Return how a process ended that left no answer, and what to do about it.

    Args:
        returncode: of :mod:`subprocess`: negative is a signal's number.
        killed_for_memory: whether memory ran out and the kernel ended a process; ``None``: unknown.
    """
    if returncode >= 0:
        return f"ended with exit code {returncode} and left no result"
    try:
        name = signal.Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    if name != "SIGKILL":
        return f"crashed ({name})"
    why = {
        True: "by the kernel, because memory ran out",
        False: "by another program; the kernel did not report that memory ran out",
        None: "most likely by the kernel, because memory ran out",
    }[killed_for_memory]
    return f"was killed (SIGKILL), {why}" + (
        "" if killed_for_memory is False else ": close other programs, limit it with --workspace, or add swap"
    )


def _quoted(log: BuildLog) -> str:
    last = [printable(text).strip()[:200] for text in log.last(_LAST)]
    return f". It logged last: {' / '.join(last)}" if last else ". It logged nothing"


def _search_path() -> Iterator[str]:
    """Yield where this process finds modules, so that the other finds the same ones."""
    return (entry for entry in sys.path if Path(entry).is_absolute())
