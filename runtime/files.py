"""Write files and folders so that they are there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import platform
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from .errors import OutputError, OutputExistsError

_HINTS = {
    errno.ENOSPC: "the disk is full; free some space or write elsewhere",
    errno.EDQUOT: "the disk quota is used up; free some space or write elsewhere",
    errno.EFBIG: "the file would exceed the largest size allowed here",
    errno.EROFS: "the disk is read-only; write elsewhere",
    errno.EACCES: "permission denied; choose a folder you may write to",
    errno.EPERM: "permission denied; choose a folder you may write to",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EEXIST: "a file of that name is in the way",
    errno.ENOTEMPTY: "a folder came into being there meanwhile",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ENOENT: "the folder does not exist",
}

_PROBE_BYTES = 1 << 16
_ASIDE = ".aside"
REPLACED = ".replaced"
"""Name of a folder in a temporary one that holds what steps aside, under the names it goes back to."""
_PARTIAL = re.compile(r"\.partial-[0-9a-f]{8}-([0-9]{1,10})\.([0-9]{1,20})-[0-9a-f]{16}(\.[^/]*)?")
_SWEPT: set[Path] = set()


def output_error(path: Path, error: OSError) -> OutputError:
    """Return an :class:`OutputError` that says in words why ``path`` cannot be written."""
    reason = _HINTS.get(error.errno or 0) or error.strerror or str(error)
    return OutputError(f"{path}: cannot be written: {reason}")


@contextlib.contextmanager
def making_folder(folder: Path) -> Iterator[None]:
    """Make ``folder`` with its parents for the block; on an error remove again what was made and is empty.

    Raises:
        OutputError: the folder cannot be made.
    """
    created: list[Path] = []
    try:
        try:
            missing = [folder, *folder.parents]
            missing = missing[: next((i for i, path in enumerate(missing) if path.exists()), len(missing))]
            for path in reversed(missing):
                created.append(path)  # before it is made: an interruption may come between the two
                path.mkdir(exist_ok=True)
            if not folder.is_dir():
                raise OutputError(f"{folder}: is a file, not a folder")
        except OSError as error:
            raise output_error(folder, error) from error
        yield
    except BaseException:
        for path in reversed(created):
            with contextlib.suppress(OSError):  # not empty: somebody else uses it by now
                path.rmdir()
        raise


@contextlib.contextmanager
def replacing(path: Path, *, new: bool = False) -> Iterator[Path]:
    """Give a temporary path beside ``path`` to write to, renamed onto ``path`` when the block ends well.

    On any error, Ctrl-C included, the temporary file is removed and ``path`` is as it was.

    Args:
        path: the file.
        new: replace nothing, not even what comes into being at ``path`` while the block runs.

    Raises:
        OutputError: the file cannot be written; an ``OSError`` in the block counts as that.
        OutputExistsError: with ``new``, something is at ``path`` by now.
    """
    with making_folder(path.parent):
        temporary: Path | None = None
        try:
            temporary = _beside(path, path.suffix)  # the suffix stays, since writers look at it
            temporary.touch(exist_ok=False)
            yield temporary
            if new:
                _put_new(temporary, path)
            else:
                temporary.replace(path)
        except BaseException as error:
            if temporary is not None:
                with contextlib.suppress(OSError):
                    temporary.unlink()
            if isinstance(error, OSError):
                raise output_error(path, error) from error
            raise


def _put_new(temporary: Path, path: Path) -> None:
    """Give a file its name unless something has it."""
    try:
        # A link is made only where nothing is, in one step; a rename would replace.
        os.link(temporary, path)
    except OSError as error:
        if os.path.lexists(path):
            raise OutputExistsError(
                f"{path}: came into being meanwhile, and is left as it is; choose another name, or ask to "
                "overwrite it"
            ) from error
        temporary.rename(path)  # a file system without links
    else:
        temporary.unlink()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one process at a time into the block, of those that ask for the same folder (not on Windows).

    Where a file system knows no locks, the block runs without one.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file that may not exist yet, whole or not at all, with ``mode`` from its first byte on.

    Raises:
        OutputError: something is there, which is never replaced; or the file cannot be written.
    """
    check_new(path)
    with making_folder(path.parent):
        temporary = _beside(path, path.suffix)
        try:
            # A link is made only where nothing is, in one step; a rename would replace.
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
            os.link(temporary, path)
        except OSError as error:
            raise output_error(path, error) from error
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()


def check_new(path: Path) -> None:
    """Say before a file is written with :func:`write_new` that something is there.

    Raises:
        OutputError: so it is, or the name cannot be looked up.
    """
    try:
        if not os.path.lexists(path):
            return
    except ValueError as error:  # a NUL in the name
        raise OutputError(f"{path}: cannot be written: {error}") from error
    raise OutputError(f"{path}: exists already, and is never replaced; choose another name")


def check_place(path: Path, *, overwrite: bool = False) -> None:
    """Say before long work, not after it, that its result could not be written to ``path``; makes nothing.

    Raises:
        OutputError: it exists and may not be overwritten, is a folder, or none can be made where it would be.
    """
    if path.is_dir():
        raise OutputError(f"{path}: is a folder; give the name of a file")
    if path.exists() and not overwrite:
        raise OutputExistsError(f"{path}: exists already; choose another name, or ask to overwrite it")
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if problem := write_problem(above):
        raise output_error(path, problem)


def write_problem(folder: Path) -> OSError | None:
    """Try to write a little into ``folder`` and return what was in the way, or ``None``.

    Libraries in C++ often say only that writing failed; this finds out whether the disk is why.
    """
    probe = _beside(folder / "probe", "")
    try:
        probe.write_bytes(bytes(_PROBE_BYTES))
    except OSError as error:
        return error
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()
    return None


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, without following a symbolic link."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    state = hashlib.sha256()
    with os.fdopen(os.open(path, flags), "rb") as file:
        while chunk := file.read(1 << 20):
            state.update(chunk)
    return state.hexdigest()


def remove_folder(folder: Path) -> None:
    """Remove a folder of ours; what cannot be removed stays, without an error."""
    shutil.rmtree(folder, ignore_errors=True)


def make_folder_beside(path: Path) -> Path:
    """Make and return a new folder of ours next to ``path``."""
    folder = _beside(path, "")
    folder.mkdir()
    return folder


def move_folder(folder: Path, dest: Path) -> None:
    """Rename a folder of ours to ``dest`` on the same disk; a folder that is there is replaced and removed.

    Raises:
        OSError: that failed, and ``dest`` is as it was.
    """
    if not dest.exists():
        folder.rename(dest)
        return
    # A folder cannot be renamed onto one that is not empty: the old one steps aside first. Between the two
    # renames it is nowhere else, so `remove_litter` puts it back if this process dies there.
    aside = _beside(dest, _ASIDE)
    aside.mkdir()
    moved = False
    try:
        dest.rename(aside / dest.name)
        try:
            folder.rename(dest)
            moved = True
        finally:
            if not moved:
                (aside / dest.name).rename(dest)
    finally:
        remove_folder(aside)


def _beside(path: Path, suffix: str) -> Path:
    # Not tempfile: it makes everything private to the user, and what is renamed into place keeps that.
    remove_litter(path.parent)
    owner = f"{os.getpid()}.{_beginning(os.getpid())}"
    return path.with_name(f".partial-{_here()}-{owner}-{secrets.token_hex(8)}{suffix}")


def remove_litter(folder: Path) -> None:
    """Remove what dead processes of this machine left half written in ``folder``, once for each process.

    A folder that one of them was about to replace, and that is nowhere else, is put back.

    Names hold the machine, the process and when that began. What a living process writes, and what another
    machine writes into a shared folder, stays.
    """
    if folder in _SWEPT or not hasattr(os, "getuid"):  # elsewhere no signal tells whether a process lives
        return
    _SWEPT.add(folder)
    with contextlib.suppress(OSError):
        for entry in folder.glob(f".partial-{_here()}-*"):
            match = _PARTIAL.fullmatch(entry.name)
            if match is None or _lives(int(match[1]), match[2]):
                continue
            if entry.is_dir() and not entry.is_symlink():
                for aside in (entry,) if entry.suffix == _ASIDE else (entry / REPLACED,):
                    if aside.is_dir():
                        _put_back(aside, folder)
                shutil.rmtree(entry, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    entry.unlink()


def _put_back(aside: Path, folder: Path) -> None:
    """Rename what had stepped aside for a folder that never came."""
    for old in aside.iterdir():
        if not os.path.lexists(folder / old.name):
            old.rename(folder / old.name)


@functools.lru_cache(maxsize=1)
def _here() -> str:
    """Return what names this machine, and the container in it, among those that may share a folder."""
    facts = [platform.node()]
    for file in ("/etc/machine-id", "/proc/self/ns/pid"):
        with contextlib.suppress(OSError):
            path = Path(file)
            facts.append(str(path.readlink()) if path.is_symlink() else path.read_text(encoding="ascii"))
    return hashlib.sha256("\n".join(facts).encode(errors="replace")).hexdigest()[:8]


def _lives(process: int, began: str) -> bool:
    """Return whether the process that began then still lives: numbers of dead ones are used again."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass  # somebody else's
    now = _beginning(process)
    return "0" in (now, began) or now == began  # 0: the system does not tell


def _beginning(process: int) -> str:
    """Return when a process began, in the system's own count, or ``0`` where that cannot be read."""
    with contextlib.suppress(OSError, IndexError):
        # The name of the program, in brackets, may hold spaces; the 22nd field of all is the beginning.
        return Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()[19]
    return "0"
