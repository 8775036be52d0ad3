"""What a builder logs, within bounds: every problem, the end of the rest, and all of it in a file on request.

One build logs tens of thousands of lines at the most talkative severity, and the error comes last.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from ..errors import OutputError
from ..strict_json import printable

WARNING = 2  # ILogger.Severity: internal error 0, error 1, warning 2, info 3, verbose 4
MAX_PROBLEMS = 5_000
TAIL_LINES = 2_000
"""How many of the last messages below a warning are kept."""
LEVELS = ("F", "E", "W", "I", "V")
_INFO = 3
_CONTINUED = "    "
"""Begins each further line of a message in a file."""


class BuildLog:
    """Messages of a builder, each a severity and a text."""

    def __init__(self) -> None:
        """Start empty."""
        self.left_out = 0
        self._count = 0
        self._problems: list[tuple[int, int, str]] = []
        self._tail: deque[tuple[int, int, str]] = deque(maxlen=TAIL_LINES)
        self._stream: TextIO | None = None
        self._unwritten: OSError | None = None

    def add(self, severity: int, text: str) -> None:
        """Keep a message. Never fails: a builder in native code calls this."""
        self._count += 1
        if self._stream is not None and self._unwritten is None:
            try:
                self._stream.write(_line(severity, text))
            except OSError as error:
                self._unwritten = error
        entry = (self._count, severity, text)
        if severity > WARNING:
            self.left_out += len(self._tail) == TAIL_LINES
            self._tail.append(entry)
        elif len(self._problems) < MAX_PROBLEMS:
            self._problems.append(entry)
        else:
            self.left_out += 1

    def entries(self) -> list[tuple[int, str]]:
        """Return what was kept, in the order it was logged."""
        kept = sorted([*self._problems, *self._tail])
        return [(severity, text) for _, severity, text in kept]

    def text(self) -> str:
        """Return what was kept, one message a line, with a note of what was not."""
        note = f"[{self.left_out} messages left out; --log FILE keeps all]\n" if self.left_out else ""
        return note + "".join(_line(severity, text) for severity, text in self.entries())

    def read(self, file: Path, start: int = 0) -> None:
        """Keep the messages that another process wrote into a file, from the byte ``start`` on.

        Lines without a severity are what native code prints; they count as information. A file that cannot
        be read holds nothing.
        """
        severity, text = _INFO, ""
        with contextlib.suppress(OSError), file.open(encoding="utf-8", errors="replace") as lines:
            lines.seek(start)
            for line in lines:
                line = line.rstrip("\n")
                if line.startswith(_CONTINUED) and text:
                    text += "\n" + line[len(_CONTINUED) :]
                    continue
                if text:
                    self.add(severity, text)
                level = LEVELS.index(line[1]) if line[:1] == "[" and line[1:2] in LEVELS else None
                severity, text = (_INFO, line) if level is None else (level, line[4:])
        if text:
            self.add(severity, text)

    def last(self, count: int) -> list[str]:
        """Return the last ``count`` messages."""
        return [text for _, text in self.entries()[-count:]]

    @contextlib.contextmanager
    def all_into(self, file: Path | None) -> Iterator[None]:
        """Append every message to ``file`` while inside; ``None`` writes nothing.

        Raises:
            OutputError: it cannot be written.
        """
        if file is None:
            yield
            return
        try:
            # A line at a time: what a killed process has logged must be in the file.
            with file.open("a", buffering=1, encoding="utf-8", errors="replace") as stream:
                self._stream = stream
                try:
                    yield
                finally:
                    self._stream = None
            if self._unwritten is not None:
                raise self._unwritten
        except OSError as error:
            raise OutputError(f"{file}: cannot be written: {error.strerror or error}") from error


def kept_by(trt: Any, log: BuildLog) -> Any:
    """Return a logger of a TensorRT module's own kind that keeps every message in ``log``."""

    class Kept(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, text: str) -> None:
            log.add(int(severity), str(text))

    return Kept()


def _line(severity: int, text: str) -> str:
    level = LEVELS[severity] if 0 <= severity < len(LEVELS) else "?"
    return f"[{level}] {printable(text)}".replace("\n", f"\n{_CONTINUED}") + "\n"
