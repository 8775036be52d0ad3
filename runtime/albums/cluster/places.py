"""Where photos of a cluster run lie and their results go: any file system that pyarrow or fsspec opens."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from ...errors import BadInputError, OutputError, OutputExistsError
from ..manifest import MANIFEST_NAME, Manifest, Stamp

MARK = ".fdikp-edge-ray"
"""A file in the output folder while a run lasts: results without a line may then be an earlier attempt's."""
SAVE_SECONDS = 30.0
SAVE_SHARE = 20
"""A record that lies elsewhere is saved again after this many times what the last saving took, and not before
:data:`SAVE_SECONDS`."""
_CHUNK = 1 << 20


def open_place(address: str) -> tuple[Any, str]:
    """Return pyarrow's file system for an address or path, else fsspec's, and the path in it.

    Raises:
        BadInputError: neither knows such an address, or what it needs is not installed.
    """
    from pyarrow import fs

    if "://" not in address:
        local = fs.LocalFileSystem()
        return local, local.normalize_path(str(Path(address).absolute()))
    try:
        filesystem, path = fs.FileSystem.from_uri(address)
    except Exception as first:
        try:
            import fsspec

            opened, path = fsspec.core.url_to_fs(address)
            filesystem = fs.PyFileSystem(fs.FSSpecHandler(opened))
        except Exception as error:
            raise BadInputError(f"{shown(address)}: no file system for it: {error or first}") from error
    return filesystem, path.rstrip("/") or path


def shown(address: str) -> str:
    """Return an address without what may be secret: the user before the host, and the query."""
    return re.sub(r"://[^/@]*@", "://", address.partition("?")[0]) if "://" in address else address


def is_stamped(filesystem: Any, info: Any, stamp: Stamp) -> bool:
    """Say whether a file is the one stamped, by what its file system told.

    Its content is read only if the time has changed, or the file system tells none.
    """
    if info.size != stamp.bytes:
        return False
    if info.mtime_ns and info.mtime_ns == stamp.modified_ns:
        return True
    total = hashlib.sha256()
    try:
        with filesystem.open_input_stream(info.path) as stream:
            while chunk := stream.read(_CHUNK):
                total.update(chunk)
    except OSError:
        return False
    return total.hexdigest() == stamp.sha256


class Destination:
    """The output folder: a local one that all nodes share, or one in another file system."""

    def __init__(self, address: str) -> None:
        """Open the file system and see what lies in the folder; nothing is written.

        Raises:
            BadInputError: no file system for the address.
            OutputError: it cannot be read.
        """
        from pyarrow import fs

        self.filesystem, self.folder = open_place(address)
        self.name = shown(address)
        self.local = Path(self.folder) if isinstance(self.filesystem, fs.LocalFileSystem) else None
        self._infos: dict[str, Any] = {}
        if self.local is not None:
            return  # asked file by file: a listing would follow links, round in circles too
        selector = fs.FileSelector(self.folder, recursive=True, allow_not_found=True)
        try:
            infos = self.filesystem.get_file_info(selector)
        except OSError as error:
            raise OutputError(f"{self.name}: cannot be read: {error}") from error
        self._infos = {info.path: info for info in infos if info.is_file}

    def path(self, output: str) -> str:
        """Return the path of a result in the file system."""
        return str(PurePosixPath(self.folder, output))

    def exists(self, output: str) -> bool:
        """Say whether there is a result; in another file system, whether there was when it was opened."""
        if self.local is not None:
            return os.path.lexists(self.path(output))
        return self.path(output) in self._infos

    def holds(self, output: str, stamp: Stamp) -> bool:
        """Say whether a result is the one stamped."""
        if self.local is not None:
            info = self.filesystem.get_file_info(self.path(output))
        else:
            info = self._infos.get(self.path(output))
        return info is not None and is_stamped(self.filesystem, info, stamp)

    def write(self, name: str, data: bytes) -> None:
        """Write a small file of ours.

        Raises:
            OutputError: it cannot be written.
        """
        try:
            self.filesystem.create_dir(self.folder, recursive=True)
            with self.filesystem.open_output_stream(self.path(name)) as stream:
                stream.write(data)
        except OSError as error:
            raise OutputError(f"{self.name}: cannot be written: {error}") from error

    def replace(self, name: str, content: BinaryIO) -> None:
        """Write a file of ours beside the one that is there, and put it in its place.

        Raises:
            OutputError: it cannot be written.
        """
        temporary = f"{self.path(name)}.partial"
        try:
            with self.filesystem.open_output_stream(temporary) as stream:
                while chunk := content.read(_CHUNK):
                    stream.write(chunk)
            self.filesystem.move(temporary, self.path(name))
        except OSError as error:
            raise OutputError(f"{self.name}/{name}: cannot be written: {error}") from error

    def remove(self, name: str) -> None:
        """Remove a small file of ours, if it is there."""
        with contextlib.suppress(OSError):
            self.filesystem.delete_file(self.path(name))

    @contextlib.contextmanager
    def marked(self) -> Iterator[bool]:
        """Mark a run that lasts, and say whether an earlier one was cut off; kept if this one is.

        Raises:
            OutputError: it cannot be written, or is a link to another place.
        """
        mark = None if self.local is None else self.local / MARK
        if mark is not None and os.path.lexists(mark) and not stat.S_ISREG(mark.lstat().st_mode):
            raise OutputError(f"{mark}: is a link or no regular file; remove it, or choose another folder")
        again = self.exists(MARK)
        self.write(MARK, b"")
        try:
            yield again
        except OutputExistsError:
            if not again:
                self.remove(MARK)
            raise
        self.remove(MARK)

    @contextlib.contextmanager
    def record(self) -> Iterator[Record]:
        """Open the record of the folder for a run.

        That of another file system is written on this machine and saved there from time to time and at the
        end, since object stores append to nothing.

        Raises:
            OutputError: it cannot be read or written, or is damaged.
        """
        if self.local is not None:
            self.local.mkdir(parents=True, exist_ok=True)
            with Manifest(self.local) as manifest:
                yield Record(self, manifest)
            return
        with tempfile.TemporaryDirectory(prefix="fdikp-edge-") as folder:
            if self.exists(MANIFEST_NAME):
                self._copy(Path(folder) / MANIFEST_NAME)
            with Manifest(Path(folder)) as manifest:
                record = Record(self, manifest)
                try:
                    yield record
                finally:
                    record.save(now=True)

    def _copy(self, file: Path) -> None:
        try:
            with self.filesystem.open_input_stream(self.path(MANIFEST_NAME)) as stream, file.open("wb") as to:
                while chunk := stream.read(_CHUNK):
                    to.write(chunk)
        except OSError as error:
            raise OutputError(f"{self.name}/{MANIFEST_NAME}: cannot be read: {error}") from error


class Record:
    """The manifest of a destination while a run lasts."""

    def __init__(self, dest: Destination, manifest: Manifest) -> None:
        """Take an open manifest."""
        self.manifest = manifest
        self.place = manifest.path if dest.local is not None else f"{dest.name}/{MANIFEST_NAME}"
        self._dest = dest
        self._saved = time.monotonic()
        self._wait = SAVE_SECONDS

    def save(self, *, now: bool = False) -> None:
        """Save a record that lies elsewhere if it is time to, or ``now``.

        Raises:
            OutputError: it cannot be written.
        """
        began = time.monotonic()
        if self._dest.local is not None or (not now and began - self._saved < self._wait):
            return
        if not self.manifest.path.stat().st_size:
            return
        with self.manifest.path.open("rb") as stream:
            self._dest.replace(MANIFEST_NAME, stream)
        self._saved = time.monotonic()
        self._wait = max(SAVE_SECONDS, SAVE_SHARE * (self._saved - began))
