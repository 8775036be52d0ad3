"""Run a program of `python -m …`: what goes wrong on purpose becomes one message and an exit code."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable

from .errors import FdikpEdgeError

INTERRUPTED = 130


def run(main: Callable[[], None], *, extra: str = "all", interrupted: str = "") -> None:
    """Call ``main``; warnings of libraries are not shown.

    Args:
        main: the program.
        extra: what to install where a library is missing.
        interrupted: said on Ctrl-C.

    Raises:
        SystemExit: the code of an :class:`~fdikp_edge.runtime.errors.FdikpEdgeError`, whose message went to
            stderr; 2 for a missing library or a file that the system refuses; 130 for Ctrl-C.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            main()
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
        except KeyboardInterrupt:
            raise _left(interrupted, INTERRUPTED) from None


def _left(message: str, code: int) -> SystemExit:
    if message:
        print(message, file=sys.stderr, flush=True)
    return SystemExit(code)
