"""Read JSON from a file that may be hostile, write it in one canonical form.

Standard ``json`` accepts ``NaN``, repeated keys and numbers without bound. A passport decides what gets
opened and what is printed in a terminal, so none of that is let in.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any

_MAX_DEPTH = 32
_CONTROL = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff]")


def canonical(value: Any) -> bytes:
    """Return the one UTF-8 spelling of a JSON value: sorted keys, no spaces, no NaN or infinity.

    Raises:
        ValueError: the value holds a NaN or an infinity.
        TypeError: the value holds something JSON has no word for (a numpy number, a path).
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def digest(value: Any) -> str:
    """Return the SHA-256 of :func:`canonical` in hexadecimal."""
    return hashlib.sha256(canonical(value)).hexdigest()


def parse(data: bytes) -> Any:
    """Parse strict JSON.

    Raises:
        ValueError: not UTF-8, not JSON, a NaN or infinity, a repeated key, a string with control characters,
            or nesting deeper than 32 levels. The message says which.
    """
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _check(value, 0)
    return value


def printable(text: str) -> str:
    """Return ``text`` with every control character (but newline and tab), lone surrogate, and character that
    turns the direction of what follows (U+202A to U+202E, U+2066 to U+2069) made a space."""
    return _CONTROL.sub(" ", text)


def all_printable(value: Any) -> Any:
    """Return a value of JSON in which every string is :func:`printable`, keys too."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {all_printable(key): all_printable(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [all_printable(entry) for entry in value]
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"it holds {name}, which is not a number")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key appears twice")
    return result


def _check(value: Any, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise ValueError(f"it is nested deeper than {_MAX_DEPTH} levels")
    if isinstance(value, str):
        # These strings end up in terminals: an escape sequence or a lone surrogate has no business there.
        if printable(value) != value:
            raise ValueError("a string holds control characters")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("it holds a number that is not finite")
    elif isinstance(value, list):
        for item in value:
            _check(item, depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            _check(key, depth + 1)
            _check(item, depth + 1)
