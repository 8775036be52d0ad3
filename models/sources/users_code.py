"""Run code that a user named: an error in it becomes one message with its file and line, no traceback."""

from __future__ import annotations

import contextlib
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path

from ...runtime.errors import FdikpEdgeError, SourceError

_OURS = Path(__file__).resolve().parents[2]
_ROOMS = ("package", "runtime", "models", "calibration", "export", "benchmarks", "cli")
_PYTHON = Path(sysconfig.get_path("stdlib")).resolve()


@contextlib.contextmanager
def users_code(doing: str) -> Iterator[None]:
    """Turn whatever the block raises into a :class:`SourceError` that says where in the user's code it was.

    Args:
        doing: the start of the message, such as ``net.py: loading``.

    Errors of ours pass, a :class:`SourceError` with the place in front. So do a lack of memory and Ctrl-C.
    """
    try:
        yield
    except (KeyboardInterrupt, MemoryError):
        raise
    except SyntaxError as error:
        place = f"{error.filename}:{error.lineno}: " if error.filename else ""
        raise SourceError(f"{place}{type(error).__name__}: {error.msg}") from error
    except SourceError as error:
        place = _place(error)
        if not place:
            raise
        raise SourceError(f"{place}: {error}") from error
    except FdikpEdgeError:
        raise
    except BaseException as error:  # also SystemExit: a script without a main guard
        place = _place(error) or doing
        text = " ".join(str(error).split())[:500]
        raise SourceError(f"{place}: {type(error).__name__}{': ' if text else ''}{text}") from error


def _place(error: BaseException) -> str:
    """Return ``file:line`` of the innermost frame that is the user's, or else one of an installed package.

    Empty where all frames are the toolkit's, PyTorch's or Python's own.
    """
    frames = [
        (_rank(Path(frame.filename).resolve()), f"{frame.filename}:{frame.lineno}")
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<")
    ]
    for rank in (0, 1):
        chosen = [place for frame_rank, place in frames if frame_rank == rank]
        if chosen:
            return chosen[-1]
    return ""


def _rank(file: Path) -> int:
    """Return 0 for a file of the user, 1 for an installed package, 2 for what nobody wants to read of."""
    if file.is_relative_to(_OURS) and file.relative_to(_OURS).parts[0] in _ROOMS:
        return 2
    folder = next(
        (n for n, part in enumerate(file.parts) if part in ("site-packages", "dist-packages")), None
    )
    if folder is not None:
        return 2 if file.parts[folder + 1] == "torch" else 1
    return 2 if file.is_relative_to(_PYTHON) else 0
