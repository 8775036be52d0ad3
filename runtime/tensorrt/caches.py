"""A folder for what is only worth keeping for speed: timings of kernels, and kernels compiled on a device.

What is in there may decide what code runs, so it is used only where nobody else can write to it. Nothing
depends on it: every problem means that there is no cache.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from ..errors import OutputError
from ..files import replacing

MAX_BYTES = 256 * 1024**2


def cache_folder(name: str) -> Path | None:
    """Return this user's own cache folder ``fdikp-edge/name``, made if missing; ``None`` if there is none."""
    root = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    folder = (Path(root) if root else Path.home() / ".cache") / "fdikp-edge" / name
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder if _is_ours(folder) and os.access(folder, os.W_OK) else None
    except (OSError, RuntimeError):  # a read-only or missing home
        return None


def read_cache(file: Path) -> bytes | None:
    """Return what :func:`write_cache` kept in ``file``; ``None``: missing, damaged or writable by others."""
    try:
        if file.is_symlink() or not _is_ours(file) or file.stat().st_size > MAX_BYTES:
            return None
        data = file.read_bytes()
    except OSError:
        return None
    digest, content = data[:32], data[32:]
    return content if hashlib.sha256(content).digest() == digest else None


def write_cache(file: Path, content: bytes) -> None:
    """Keep ``content`` in ``file``, whole or not at all; a problem is not the caller's."""
    if len(content) > MAX_BYTES:
        return
    try:
        with replacing(file) as temporary:
            temporary.write_bytes(hashlib.sha256(content).digest() + content)
            temporary.chmod(0o600)
    except OutputError:
        return


def _is_ours(path: Path) -> bool:
    """Whether this user owns it and nobody else may write to it; systems without owners are taken at that."""
    info = path.stat()
    if not hasattr(os, "getuid"):
        return True
    return info.st_uid == os.getuid() and not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
