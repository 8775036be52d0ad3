"""Run a program of `python -m …`: what goes wrong on purpose becomes one message and an exit code.

A reader of stdout that leaves early (`| head`) is no error, and does not change the exit code either: a check
that failed has failed, whoever was listening.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from .errors import FdikpEdgeError

INTERRUPTED = 130
OUT_OF_MEMORY = "out of memory; try a smaller size, fewer pictures at once, or fewer threads"
_MEMORY = re.compile(r"(?:can't|cannot) allocate memory|out of memory|bad_alloc", re.IGNORECASE)


def run(main: Callable[[], None], *, extra: str = "all", interrupted: str = "") -> None:
    """Call ``main``; warnings of libraries are not shown.

    Args:
        main: the program.
        extra: what to install where a library is missing.
        interrupted: said on Ctrl-C.

    Raises:
        SystemExit: the code of an :class:`~fdikp_edge.runtime.errors.FdikpEdgeError`, whose message went to
            stderr; 2 for a missing library, or a file or memory that the system refuses; 130 for Ctrl-C.
    """
    prepare_streams()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            main()
            finish()
        except FdikpEdgeError as error:
            raise _left(f"error: {error}", error.exit_code) from None
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("fdikp_edge"):
                raise
            missing = f"error: this needs {error.name}, which is not installed here"
            raise _left(f'{missing}: pip install "fdikp-edge[{extra}]"', FdikpEdgeError.exit_code) from None
        except OSError as error:  # a disk that fills up in the middle, say
            if error.strerror is None:
                raise
            place = f"{error.filename}: " if error.filename else ""
            raise _left(f"error: {place}{error.strerror}", FdikpEdgeError.exit_code) from None
        except (MemoryError, RuntimeError) as error:
            if not ran_out_of_memory(error):
                raise
            raise _left(f"error: {OUT_OF_MEMORY}", FdikpEdgeError.exit_code) from None
        except KeyboardInterrupt:
            raise _left(interrupted, INTERRUPTED) from None


def ran_out_of_memory(error: BaseException) -> bool:
    """Say whether memory was refused: by Python, or by PyTorch, whose allocators raise a ``RuntimeError``."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and _MEMORY.search(str(error)) is not None
    )


def prepare_streams() -> None:
    """Open streams that are closed (`>&-`), so that no file of ours gets their place, and take any name.

    Names of files that stdout's encoding has no letters for are escaped there, rather than raise.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 (for good)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def put(text: str, end: str = "\n") -> None:
    """Print ``text`` on stdout, for whoever still reads it."""
    try:
        print(text, end=end)
    except BrokenPipeError:
        _discard()


def finish() -> None:
    """Hand over what stdout still holds; at its exit Python would complain about a reader that left."""
    if sys.stdout is not None:
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            _discard()


def _discard() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _left(message: str, code: int) -> SystemExit:
    with contextlib.suppress(OSError):  # a full disk, say: this is already about what went wrong first
        finish()
    if message:
        print(message, file=sys.stderr, flush=True)
    return SystemExit(code)
