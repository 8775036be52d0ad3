"""ExecuTorch's event trace: the time of each operator, XNNPACK's and ExecuTorch's own.

The package for Python is built with tracing. It writes an ``ETDump``: a FlatBuffer with its size in front,
which :mod:`..outside.flatbuffer` reads. Format: ``devtools/etdump/etdump_schema_flatcc.fbs`` of release 1.5.
"""

from __future__ import annotations

import dataclasses
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import TargetUnavailableError
from ..outside.files import read_bounded
from ..outside.flatbuffer import Flatbuffer, Table

MAX_BYTES = 512 * 1024**2
KERNELS = "portable"
"""The place of operators that no delegate took: ExecuTorch's portable kernels."""
_IDENTIFIER = b"ED00"
_RUN, _DELEGATE, _KERNEL = "Execute", "DELEGATE_CALL", "OPERATOR_CALL"
_NATIVE = "native_call_"
_NUMBER = re.compile(r" #\d+$")
_NS_PER_MS = 1e6


@dataclass(frozen=True)
class Event:
    """One operator of one run, and its milliseconds.

    ``step`` is the number of the program's instruction: a delegate computes many operators in one.
    """

    step: int
    name: str
    delegated: bool
    ms: float

    @property
    def operator(self) -> str:
        """The kind of operator."""
        return _NUMBER.sub("", self.name)


class ExecuTorchProfile:
    """A program that was loaded with ExecuTorch's event trace on."""

    def __init__(self, pool: Any, data: bytes, method: str) -> None:
        """Load a checked program; ``pool`` is the module ``portable_lib`` of ExecuTorch.

        Raises:
            TargetUnavailableError: this build of ExecuTorch has no event trace.
        """
        self._module: Any = pool._load_for_executorch_from_buffer(data, enable_etdump=True)
        self._method = method
        if not self._module.has_etdump():
            raise TargetUnavailableError("this build of ExecuTorch was made without its event trace")

    def run(self, inputs: Iterable[Any]) -> None:
        """Run once with PyTorch tensors in the program's order."""
        self._module.run_method(self._method, tuple(inputs))

    def runs(self) -> list[list[Event]]:
        """Return the events of each run, in order.

        Raises:
            TargetUnavailableError: ExecuTorch wrote a trace that cannot be read, or more than 512 MB.
        """
        with tempfile.TemporaryDirectory(prefix="fdikp-edge-profile-") as folder:
            file = Path(folder) / "trace.etdp"
            self._module.write_etdump_result_to_file(str(file))
            data = read_bounded(file, MAX_BYTES, TargetUnavailableError)
        try:
            return read_trace(data)
        except ValueError as error:
            raise TargetUnavailableError(f"ExecuTorch wrote an event trace that {error}") from error


def read_trace(data: bytes) -> list[list[Event]]:
    """Return the operators of each run in a trace.

    Raises:
        ValueError: it is none; says why.
    """
    file = Flatbuffer(data)
    if data[8:12] != _IDENTIFIER:
        raise ValueError(f"does not have the identifier {_IDENTIFIER.decode()}")
    root = file.table(file.follow(4))  # behind the size
    return [_operators(block) for block in root.tables(1) if block.text(0) == _RUN]


def _operators(block: Table) -> list[Event]:
    """Return the operators of one run.

    Of a delegate's call there are the operators first, then the call itself; of a kernel the kernel, then the
    call. XNNPACK rounds its times to microseconds, so they are scaled to the time of the call.
    """
    events: list[Event] = []
    inner: list[tuple[str, float]] = []
    kernel = ""
    for entry in block.tables(3):
        event = entry.table(0)
        if event is None:
            continue
        name, delegated = (event.text(field) if event.has(field) else "" for field in (0, 4))
        step = event.number(2, "i", -1)
        ms = max(0, event.number(7, "Q") - event.number(6, "Q")) / _NS_PER_MS
        if delegated:
            inner.append((delegated, ms))
        elif name.startswith(_NATIVE):
            kernel = name.removeprefix(_NATIVE)
        elif name == _KERNEL:
            events.append(Event(step, kernel or "operator", False, ms))
            kernel = ""
        elif name == _DELEGATE:
            whole = sum(part for _, part in inner)
            parts = [(one, ms * part / whole if whole else ms / len(inner)) for one, part in inner]
            events += [Event(step, one, True, part) for one, part in parts or [("delegate", ms)]]
            inner = []
    return events


def mean_times(runs: Sequence[Sequence[Event]]) -> list[Event]:
    """Return the operators with their mean milliseconds; a first run warms up and does not count.

    Raises:
        TargetUnavailableError: the runs were not of the same operators.
    """
    counted = runs[1:] or runs
    columns = list(zip(*counted, strict=False))
    if not counted or any(len(run) != len(columns) for run in counted):
        raise TargetUnavailableError("ExecuTorch's event trace has runs of different operators")
    return [
        dataclasses.replace(column[0], ms=sum(event.ms for event in column) / len(column))
        for column in columns
    ]
