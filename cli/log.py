"""What a command does, step by step: on stderr with ``--verbose``, in a file with ``--log-file``."""

from __future__ import annotations

import contextlib
import logging
import platform
import re
import sys
from pathlib import Path

from ..runtime.errors import OutputError
from ..runtime.strict_json import printable

LOG = logging.getLogger("fdikp_edge")
"""Says nothing until :func:`start`; a caller from Python may add handlers of its own."""
LOG.addHandler(logging.NullHandler())

_FORM = "%(asctime)s.%(msecs)03d %(levelname)s %(message)s"
_DATE = "%Y-%m-%d %H:%M:%S"
_OURS = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [A-Z]+ ")


def start(verbose: bool, file: Path | None) -> None:
    """Write to stderr, to a file, or to both, from now on.

    A file that is there is continued. Its lines hold paths and options of this machine, and no data of photos
    or weights.

    Raises:
        OutputError: the file cannot be opened, or holds something else than a log.
    """
    for handler in [*LOG.handlers]:  # of an earlier command in this process
        if not isinstance(handler, logging.NullHandler):
            LOG.removeHandler(handler)
            handler.close()
    if not verbose and file is None:
        LOG.setLevel(logging.NOTSET)
        return
    LOG.setLevel(logging.DEBUG)
    LOG.propagate = False
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)] if verbose else []
    if file is not None:
        try:
            _check_ours(file)
            handlers.append(_File(file, encoding="utf-8", errors="backslashreplace"))
        except OSError as error:
            raise OutputError(
                f"{file}: cannot be written: {error.strerror}; choose another --log-file"
            ) from error
    for handler in handlers:
        handler.setFormatter(_Plain(_FORM, _DATE))
        LOG.addHandler(handler)
    _begin()


def _check_ours(file: Path) -> None:
    """Refuse a file that holds something else, such as a photo whose name was typed at the wrong place.

    Raises:
        OutputError: it is no empty file, and does not begin as a log does.
        OSError: it cannot be read.
    """
    if not file.is_file():
        return  # new, or a device or pipe, of which nothing is lost
    with file.open("rb") as stream:
        begin = stream.read(128)
    if begin and not _OURS.match(begin):
        raise OutputError(f"{file}: is there already and is no log of fdikp-edge; choose another --log-file")


class _File(logging.FileHandler):
    """A log file that says once that it cannot be written, as on a full disk, and then stays as it is."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Say so and end the log."""
        error = sys.exc_info()[1]
        LOG.removeHandler(self)
        why = error.strerror if isinstance(error, OSError) else error
        with contextlib.suppress(OSError):
            name = printable(self.baseFilename)
            print(f"fdikp-edge: note: {name}: the log ends here: {why}", file=sys.stderr, flush=True)


class _Plain(logging.Formatter):
    """A message with what a terminal would obey made harmless; lines stay."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(printable(line) for line in super().format(record).splitlines())


def _begin() -> None:
    import importlib.metadata

    words = " ".join(map(repr, sys.argv[1:]))
    LOG.info("fdikp-edge %s: %s", importlib.metadata.version("fdikp-edge"), words)
    LOG.info("Python %s, %s, in %s", platform.python_version(), platform.platform(), _here())


def _here() -> str:
    try:
        return str(Path.cwd())
    except OSError:
        return "a folder that is gone"
