"""Keep off the user's screen what libraries say that nobody asked for."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

EXECUTORCH_LOGGERS = ("torchao", "torch.utils._pytree", "executorch")
"""Loggers of ExecuTorch and its packages, which remark on what is not installed while they load."""
_KEPT_BYTES = 64 * 1024


@contextmanager
def quiet(*loggers: str) -> Iterator[None]:
    """Drop the warnings and remarks of libraries inside the block; errors are still logged and raised.

    Args:
        loggers: names of the libraries' loggers. Handlers that a library adds for all loggers go with it.
    """
    chosen = [logging.getLogger(name) for name in loggers]
    levels = [logger.level for logger in chosen]
    handlers = list(logging.root.handlers)
    try:
        for logger in chosen:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(chosen, levels, strict=True):
            logger.setLevel(level)
        logging.root.handlers[:] = handlers


class NativeLog:
    """What native code wrote to the standard error stream."""

    def __init__(self, file: IO[bytes] | None) -> None:
        """Take the file that it was led to."""
        self._file = file

    def failure(self) -> str:
        """Return the first line that tells of a failure, without its place in the source; else nothing."""
        if self._file is None:
            return ""
        self._file.seek(0)
        for line in self._file.read(_KEPT_BYTES).decode("utf-8", "replace").splitlines():
            text = line.partition("] ")[2]
            if text.startswith("Failed to ") and "midr" not in text:  # a file that only ARM processors have
                return text.strip()
        return ""


@contextmanager
def native_log() -> Iterator[NativeLog]:
    """Lead the standard error stream of the process into a file: native code writes to it directly."""
    try:
        sys.stderr.flush()
        saved = os.dup(2)
    except (OSError, AttributeError, ValueError):  # closed, or there is none
        yield NativeLog(None)
        return
    with tempfile.TemporaryFile() as file:
        try:
            os.dup2(file.fileno(), 2)
            yield NativeLog(file)
        finally:
            os.dup2(saved, 2)
            os.close(saved)
