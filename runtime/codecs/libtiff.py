"""The error handler of the libtiff inside Pillow, which prints on stderr by itself."""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Keep libtiff from printing about a damaged file in the block: what it reports becomes an error anyway.

    The handler belongs to the whole process; the one before is set again. Where Pillow holds libtiff in a way
    that hides it (on Windows), it goes on printing.
    """
    set_handler = _setter()
    if set_handler is None:
        yield
        return
    before = set_handler(None)
    try:
        yield
    finally:
        set_handler(before)


@functools.lru_cache(maxsize=1)
def _setter() -> Any:
    """Return ``TIFFSetErrorHandler`` of libtiff's C interface, ``None`` where it cannot be reached."""
    try:
        from PIL import _imaging

        function = ctypes.CDLL(str(_imaging.__file__)).TIFFSetErrorHandler  # looked up among what that links
    except (ImportError, OSError, AttributeError):
        return None
    function.argtypes, function.restype = [ctypes.c_void_p], ctypes.c_void_p
    return function
