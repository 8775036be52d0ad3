"""Commands on a board, through the ``ssh`` of this machine: its configuration, keys and known hosts.

Nothing is asked for on a terminal: a key, an agent or the configuration has to let the user in. A board that
stops answering is noticed within seconds. What it sends is bounded.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from ...runtime.errors import FdikpEdgeError, TargetUnavailableError
from ...runtime.strict_json import printable
from .plan import Place

MAX_OUTPUT = 64 * 1024 * 1024
"""Bytes of a result, as many as a report may have."""
MAX_MESSAGES = 1 << 20
"""Bytes of messages that are kept, the last ones."""
LOST = 255
"""What ``ssh`` exits with if there is no connection, or no longer."""
_OPTIONS = (
    *("-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15"),
    *("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"),
    *("-o", "ClearAllForwardings=yes", "-o", "ControlPath=none", "-o", "LogLevel=ERROR"),
)


class BoardError(FdikpEdgeError):
    """Something failed on a board; the other boards go on."""

    exit_code = 1


@dataclass(frozen=True)
class Answer:
    """What a command on a board left: exit code, output, and the end of its messages."""

    code: int
    output: bytes
    messages: str


@dataclass
class Ssh:
    """Connections to one board; one command at a time."""

    place: Place
    config: Path | None = None
    """A configuration of SSH to use instead of the user's own."""
    _running: subprocess.Popen[bytes] | None = None
    _stopped: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, command: str, *, seconds: float, stdin: Path | None = None) -> Answer:
        """Run a command of the board's shell.

        Args:
            command: for ``sh``; the caller quotes what is not its own.
            seconds: the most that it may take.
            stdin: a file to send.

        Raises:
            BoardError: no connection, or it is lost; out of time; more than :data:`MAX_OUTPUT` bytes.
            TargetUnavailableError: there is no ``ssh`` here.
        """
        with contextlib.ExitStack() as stack:
            source = stack.enter_context(stdin.open("rb")) if stdin else subprocess.DEVNULL
            process = stack.enter_context(self._start([*self._command(), command], source))
            output = _Kept(process, MAX_OUTPUT, whole=True)
            messages = _Kept(process, MAX_MESSAGES, whole=False)
            readers = [
                threading.Thread(target=kept.read, args=(stream,), daemon=True)
                for kept, stream in ((output, process.stdout), (messages, process.stderr))
            ]
            for reader in readers:
                reader.start()
            try:
                code = process.wait(seconds)
            except subprocess.TimeoutExpired:
                raise BoardError(f"{self.place}: took longer than {seconds / 60:g} minutes") from None
            finally:
                process.kill()
                self._running = None
                for reader in readers:
                    reader.join(10)
        text = printable(bytes(messages.data).decode("utf-8", "replace"))
        if output.overflowed:
            raise BoardError(f"{self.place}: sent more than {MAX_OUTPUT >> 20} MB")
        if code == LOST or code < 0:
            reason = "stopped here" if self._stopped else last_line(text) or "the connection was lost"
            raise BoardError(f"{self.place}: no connection: {reason}")
        return Answer(code, bytes(output.data), text)

    def stop(self) -> None:
        """End what runs, from another thread; nothing starts after that."""
        with self._lock:
            self._stopped = True
            if self._running is not None:
                self._running.kill()

    def _command(self) -> list[str]:
        ssh = shutil.which("ssh")
        if ssh is None:
            raise TargetUnavailableError("ssh is not installed here (OpenSSH's client)")
        place = self.place
        return [
            ssh,
            *(("-F", str(self.config)) if self.config else ()),
            *_OPTIONS,
            *(("-p", str(place.port)) if place.port else ()),
            *(("-l", place.user) if place.user else ()),
            "--",
            place.host,
        ]

    def _start(self, words: Sequence[str], source: IO[bytes] | int) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._stopped:
                raise BoardError(f"{self.place}: stopped here")
            pipe = subprocess.PIPE
            self._running = subprocess.Popen(words, stdin=source, stdout=pipe, stderr=pipe)
            return self._running


class _Kept:
    """What a stream of a process sends: all of it, and then not too much; or its end."""

    def __init__(self, process: subprocess.Popen[bytes], most: int, *, whole: bool) -> None:
        self.process, self.most, self.whole = process, most, whole
        self.data = bytearray()
        self.overflowed = False

    def read(self, stream: IO[bytes]) -> None:
        """Read until its end."""
        while chunk := stream.read1(1 << 16):  # type: ignore[attr-defined]  # of a buffered reader
            self.data += chunk
            if len(self.data) > self.most:
                if self.whole:
                    self.overflowed = True
                    self.process.kill()
                    return
                del self.data[: -self.most]


def last_line(text: str) -> str:
    """Return the last line that is not empty, shortened; a board's message for people ends with it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:400] if lines else ""
