"""From an exception to a message and an exit code.

Exit codes: 0 good, 1 a budget or a check failed, 2 bad use or bad input, 130 interrupted (Ctrl-C), 143
terminated. A traceback appears only for a mistake of ours.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from types import FrameType
from typing import ParamSpec

import typer

from ..runtime.errors import FdikpEdgeError, OutputExistsError
from ..runtime.installed.packages import Requirement
from ..runtime.program import finish, ran_out_of_memory
from ..runtime.strict_json import printable
from .log import LOG

P = ParamSpec("P")

INTERRUPTED = 130
TERMINATED = 143
MAX_MESSAGE = 2000
"""Characters of a message that are printed."""


_terminated: list[bool] = []
"""Not empty once SIGTERM came: the exception can be lost where it interrupts a callback of a library."""


def guarded(command: Callable[P, int]) -> Callable[P, None]:
    """Wrap a command: its return value is the exit code, and errors raised on purpose become one message."""

    @functools.wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        with _warnings_as_messages():
            code = _code_of(command, *args, **kwargs)
            code = TERMINATED if _terminated else code
        LOG.info("exit code %d", code)
        if code:
            with contextlib.suppress(OSError):
                finish()
            raise typer.Exit(code)

    return wrapper


def complain(message: str, *, kind: str = "error") -> None:
    """Print one message for people on stderr."""
    LOG.log(logging.ERROR if kind == "error" else logging.WARNING, "%s: %s", kind, message)
    with contextlib.suppress(OSError):  # whoever reads has left, or a full disk
        print(f"fdikp-edge: {kind}: {_shortened(_indented(printable(message)))}", file=sys.stderr, flush=True)


def _indented(message: str) -> str:
    """Return a message whose further lines cannot be taken for messages of their own: names may hold them."""
    return message.replace("\n", "\n    ")


def _shortened(message: str) -> str:
    """Return a message without its middle where a name or a library's text makes it longer than a screen."""
    half = MAX_MESSAGE // 2
    return message if len(message) <= MAX_MESSAGE else f"{message[:half]} [...] {message[-half:]}"


def exit_on_terminate() -> None:
    """Make SIGTERM unwind the stack, so that what is half written is removed as it is on Ctrl-C."""

    def leave(_signal: int, _frame: FrameType | None) -> None:
        _terminated.append(True)
        raise SystemExit(TERMINATED)

    signal.signal(signal.SIGTERM, leave)


def _code_of(command: Callable[P, int], *args: P.args, **kwargs: P.kwargs) -> int:
    try:
        code = command(*args, **kwargs)
        finish()
        return code
    except OutputExistsError as error:
        _log_traceback()
        complain(f"{error} (option --overwrite)")  # the rooms do not know what the option is called here
        return error.exit_code
    except FdikpEdgeError as error:
        _log_traceback()
        complain(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        complain("stopped; no partial output is left", kind="interrupted")
        return INTERRUPTED
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        needed = {need.module: need for need in _required_packages()}.get(package)
        if needed is None:
            raise
        complain(f"this needs {package}, which is not installed here: {needed.cure}")
        return FdikpEdgeError.exit_code
    except (MemoryError, RuntimeError) as error:
        if not ran_out_of_memory(error):
            raise
        _log_traceback()
        complain("out of memory; try a smaller --size, or a smaller image")
        return FdikpEdgeError.exit_code
    except OSError as error:
        if error.strerror is None:
            raise
        complain(f"{error.filename}: {error.strerror}" if error.filename else error.strerror)
        return FdikpEdgeError.exit_code


def _log_traceback() -> None:
    """Log where an error was raised, which its message leaves out."""
    LOG.debug("raised here:", exc_info=True)


def _required_packages() -> list[Requirement]:
    from ..export.targets import required_packages

    return required_packages()


@contextlib.contextmanager
def _warnings_as_messages() -> Iterator[None]:
    """Show our own warnings as one line each, once; drop those of libraries, which the user cannot act on."""
    seen: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        text = str(message)
        if category.__module__.startswith("fdikp_edge.") and text not in seen:
            seen.add(text)
            complain(text, kind="note")
        else:
            LOG.debug("%s: %s", category.__name__, text)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show
        yield
