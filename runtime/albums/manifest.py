"""``results.jsonl``: what became of each photo of a folder, a line of JSON for each, appended as it happens.

The line of a result is appended before its file takes its name, in one write. So whatever kills a run, every
result has its line, and at most the last line is torn; :class:`Manifest` removes a torn line when it opens.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from ..artifact import Artifact
from ..errors import OutputError
from ..files import output_error, sha256_of
from ..strict_json import digest

MANIFEST_NAME = "results.jsonl"
MAX_LINE = 1 << 16
"""Bytes of a line; paths and reasons are cut to fit."""
_MAX_SETTINGS = 32
_BEGIN = b'{"output": "'
"""What every line begins with, and so a torn one."""
MAX_TEXT = 8000
"""Characters of one text in a line."""


@dataclasses.dataclass(frozen=True)
class Stamp:
    """What tells whether a file is still the same: ``sha256``, or without reading it its size and time."""

    sha256: str
    bytes: int
    modified_ns: int

    @classmethod
    def of(cls, path: Path) -> Stamp:
        """Read a file; raises ``OSError``."""
        info = path.stat()
        return cls(_sha256(path), info.st_size, info.st_mtime_ns)

    def fits(self, path: Path) -> bool:
        """Say whether a file is the one stamped. Its content is read only if its time has changed."""
        try:
            info = path.stat()
            if info.st_size != self.bytes:
                return False
            return info.st_mtime_ns == self.modified_ns or _sha256(path) == self.sha256
        except (OSError, ValueError):
            return False


def _sha256(path: Path) -> str:
    return sha256_of(path.resolve())


@dataclasses.dataclass(frozen=True)
class Record:
    """One line.

    Attributes:
        output: the result's path below the output folder, with forward slashes: what names the photo.
        source: the photo, as it was given.
        stamp: of the photo; ``None`` if it could not be read.
        artifact: :func:`artifact_digest` of the artifact that ran; empty if none did.
        settings: what else decides the result, such as the quality.
        result: stamp of the result; ``None`` for a photo that failed.
        reason: why it failed; empty for one that did not.
        final: whether it would fail again: the photo is at fault.
        seconds: from the beginning of reading to the end of writing, without waiting.
        details: ``bucket``, ``height``, ``width``, ``tiles``, ``notes``: for people.
    """

    output: str
    source: str
    stamp: Stamp | None
    artifact: str
    settings: dict[str, Any]
    result: Stamp | None = None
    reason: str = ""
    final: bool = False
    seconds: float = 0.0
    details: dict[str, Any] = dataclasses.field(default_factory=dict)

    def line(self) -> bytes:
        """Return the record as a line of JSON in ASCII, at most :data:`MAX_LINE` bytes."""
        value = dataclasses.asdict(self)
        value["reason"] = self.reason[:MAX_TEXT]
        value["state"] = "failed" if self.result is None else "done"
        line = json.dumps(value, allow_nan=False).encode("ascii") + b"\n"
        if len(line) > MAX_LINE:
            value["details"], value["reason"] = {}, self.reason[:500]
            line = json.dumps(value, allow_nan=False).encode("ascii") + b"\n"
        return line

    @classmethod
    def parse(cls, line: bytes) -> Record:
        """Return the record of a line.

        Raises:
            ValueError: it is no such line.
        """
        try:
            value = json.loads(line)
            value.pop("state")
            for key in ("stamp", "result"):
                value[key] = None if value[key] is None else _stamp(value[key])
            record = cls(**value)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError(f"no record of a photo ({type(error).__name__})") from error
        texts = (record.output, record.source, record.artifact, record.reason)
        if not (all(isinstance(text, str) for text in texts) and _plain(record.settings)):
            raise ValueError("no record of a photo (types)")
        return record


def _plain(settings: object) -> bool:
    """Say whether settings are few values, none of which holds others."""
    return (
        isinstance(settings, dict)
        and len(settings) <= _MAX_SETTINGS
        and all(value is None or isinstance(value, (str, int, float)) for value in settings.values())
    )


def _stamp(value: dict[str, Any]) -> Stamp:
    stamp = Stamp(**value)
    if not (isinstance(stamp.sha256, str) and type(stamp.bytes) is type(stamp.modified_ns) is int):
        raise TypeError("stamp")
    return stamp


def artifact_digest(artifact: Artifact) -> str:
    """Return what names the model of an artifact and how photos reach it; measurements do not change it."""
    passport = artifact.passport
    facts = [
        *(passport.program_sha256, passport.weights_sha256, passport.target, passport.precision),
        *(digest(contract.to_dict()) for contract in (*passport.inputs, *passport.outputs)),
        *(f"{name} {entry['sha256']}" for name, entry in sorted(passport.files.items())),
    ]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


class Manifest:
    """The manifest of an output folder, open for one run; a context manager. Threads may share it."""

    def __init__(self, folder: Path) -> None:
        """Read the manifest of ``folder``, which exists, or begin one.

        Raises:
            OutputError: it cannot be read or written, is damaged before its last line, or another run
                writes to it.
        """
        self.path = folder / MANIFEST_NAME
        self._lock = threading.Lock()
        self._last: dict[str, Record] = {}
        self._results: dict[str, tuple[Stamp, ...]] = {}
        if self.path.is_symlink() or (self.path.exists() and not self.path.is_file()):
            raise OutputError(f"{self.path}: is a link or no regular file; choose another folder")
        try:
            self._open()
            while not self._claim():  # the run before removed its empty file after it was opened here
                os.close(self._file)
                self._open()
        except OSError as error:
            raise output_error(self.path, error) from error
        try:
            self._read()
        except OSError as error:
            self.close()
            raise output_error(self.path, error) from error
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        self._file = os.open(self.path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)

    def _claim(self) -> bool:
        """Lock the file, and say whether it is still the one that has the name."""
        try:
            import fcntl
        except ImportError:  # Windows: two runs into one folder are not told from one there
            return True
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return os.path.samestat(os.fstat(self._file), self.path.stat(follow_symlinks=False))
        except FileNotFoundError:
            return False
        except BlockingIOError as error:
            os.close(self._file)
            raise OutputError(
                f"{self.path}: another run is writing into this folder; wait for it, or choose another folder"
            ) from error

    def _read(self) -> None:
        whole = 0
        for record, size in _records(self.path):
            self._keep(record)
            whole += size
        if whole < os.fstat(self._file).st_size:
            os.truncate(self._file, whole)
        elif whole:
            os.lseek(self._file, -1, os.SEEK_END)
            if os.read(self._file, 1) != b"\n":  # an editor took it away
                os.write(self._file, b"\n")

    def _keep(self, record: Record) -> None:
        self._last[record.output] = dataclasses.replace(record, details={})  # a million photos fit in memory
        if record.result is not None:
            # Two, since a run may die between appending the newer one and renaming its file.
            self._results[record.output] = (*self._results.get(record.output, ()), record.result)[-2:]

    def last(self, output: str) -> Record | None:
        """Return the newest record of a result."""
        return self._last.get(output)

    def results(self, output: str) -> tuple[Stamp, ...]:
        """Return the newest stamps of a result, two at most."""
        return self._results.get(output, ())

    def wrote(self, output: str, file: Path) -> bool:
        """Say whether ``file`` is a result that some run wrote there, and nobody has changed."""
        return any(stamp.fits(file) for stamp in self.results(output))

    def append(self, record: Record) -> None:
        """Append a record in one write.

        Raises:
            OutputError: the file cannot be written.
        """
        line = record.line()
        with self._lock:
            size = os.fstat(self._file).st_size
            try:
                if os.write(self._file, line) != len(line):
                    raise OSError(28, "No space left on device")
            except OSError as error:
                with contextlib.suppress(OSError):
                    os.truncate(self._file, size)
                raise output_error(self.path, error) from error
            self._keep(record)

    def close(self) -> None:
        """Close the file; one that nothing was written to is removed."""
        if self._file >= 0:
            with contextlib.suppress(OSError):
                if os.fstat(self._file).st_size == 0:
                    self.path.unlink()
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Manifest:
        """Return the manifest itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


def _is_torn(line: bytes) -> bool:
    """Say whether a last line without an end is one of ours that was cut off, and not other text."""
    if not (line.startswith(_BEGIN) or _BEGIN.startswith(line)):
        return False
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return True
    return False


def read_manifest(path: Path) -> Iterator[Record]:
    """Yield the records of a manifest, oldest first; a torn last line is left out.

    Raises:
        OutputError: a line before the last is damaged.
        OSError: it cannot be read.
    """
    for record, _ in _records(path):
        yield record


def _records(path: Path) -> Iterator[tuple[Record, int]]:
    """Yield each record with the bytes of its line, up to a torn last line."""
    with path.open("rb") as stream:
        number = 0
        while line := stream.readline(MAX_LINE + 1):
            number += 1
            if len(line) <= MAX_LINE and not line.endswith(b"\n") and _is_torn(line):
                return
            try:
                yield Record.parse(line), len(line)
            except ValueError as error:
                raise OutputError(
                    f"{path}: line {number} is damaged: {error}; remove the line, or choose another folder"
                ) from error
