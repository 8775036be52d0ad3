"""Open and read files from outside: every reader of a user's file goes through here.

A pipe would block for ever and a device may never end, so only regular files are opened; what is read has a
bound. Links are followed unless the caller asks otherwise: a path that somebody typed may be one.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import IO

from ..errors import BadInputError, FdikpEdgeError

_REASONS = {
    errno.ENOENT: "cannot be read: no such file",
    errno.ENOTDIR: "cannot be read: no such file",
    errno.ELOOP: "cannot be read: a loop of links, or a link where none is accepted",
    errno.EACCES: "cannot be read: permission denied",
    errno.ENAMETOOLONG: "cannot be read: the name is too long",
}


def open_regular(
    path: Path, error: type[FdikpEdgeError] = BadInputError, *, follow_links: bool = True
) -> IO[bytes]:
    """Open a regular file for reading.

    Args:
        path: the file.
        error: the class to raise, made of one message.
        follow_links: whether ``path`` itself may be a symbolic link.

    Raises:
        error: missing, a folder, a pipe, a device, a loop of links, or not readable.
    """
    flags = os.O_RDONLY
    # Without O_NONBLOCK a pipe that takes the file's place between the two checks would block.
    for name in ("O_BINARY", "O_CLOEXEC", "O_NOCTTY", "O_NONBLOCK"):
        flags |= getattr(os, name, 0)
    if not follow_links:
        flags |= getattr(os, "O_NOFOLLOW", 0)
    try:
        # Looked at before it is opened, since opening a device can already do something.
        _refuse_special(path, path.stat(follow_symlinks=follow_links).st_mode, error)
        stream = os.fdopen(os.open(path, flags), "rb")
    except (OSError, ValueError) as problem:  # ValueError: a NUL in the name
        raise error(f"{path}: {_reason(problem)}") from problem
    try:
        _refuse_special(path, os.fstat(stream.fileno()).st_mode, error)
    except BaseException:
        stream.close()
        raise
    return stream


def read_bounded(
    path: Path, most: int, error: type[FdikpEdgeError] = BadInputError, *, follow_links: bool = True
) -> bytes:
    """Return the bytes of a regular file of at most ``most`` bytes.

    Raises:
        error: as :func:`open_regular`; or it is larger, which is known before anything is read.
    """
    with open_regular(path, error, follow_links=follow_links) as stream:
        try:
            data = stream.read(most + 1) if os.fstat(stream.fileno()).st_size <= most else None
        except OSError as problem:
            raise error(f"{path}: {_reason(problem)}") from problem
    if data is None or len(data) > most:
        raise error(f"{path}: larger than the {_size(most)} allowed")
    return data


def _refuse_special(path: Path, mode: int, error: type[FdikpEdgeError]) -> None:
    if stat.S_ISDIR(mode):
        raise error(f"{path}: is a folder, not a regular file")
    if not stat.S_ISREG(mode):
        raise error(f"{path}: is a pipe, a device or a link, not a regular file")


def _reason(problem: OSError | ValueError) -> str:
    code = problem.errno if isinstance(problem, OSError) else None
    if code in _REASONS:
        return _REASONS[code]
    return f"cannot be read: {getattr(problem, 'strerror', None) or problem}"


def _size(count: int) -> str:
    return f"{count >> 20} MB" if count >= 1 << 20 else f"{count} bytes"
