"""Read one field of a passport, or say which one is wrong and how.

Each reader takes a value and the name of its place, and returns the value typed or raises an
:class:`~fdikp_edge.runtime.errors.FieldError`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar, cast

from .errors import FieldError

PASSPORT_NAME = "passport.json"

_T = TypeVar("_T")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_WINDOWS_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def wrong(where: str, what: str) -> FieldError:
    """Return the error for one field of the passport."""
    return FieldError(PASSPORT_NAME, where, what)


def safe_path(value: Any, where: str) -> str:
    """Read a plain relative path (forward slashes) that stays inside its folder on every system.

    Absolute paths, ``..``, backslashes, drives, device names, control characters and long names are refused.
    """
    path = text(value, where)
    parts = path.split("/")
    plain = len(path) <= 240 and len(parts) <= 12 and path.isprintable() and not set(path) & set('\\:*?"<>|')
    if not plain or any(_bad_part(part) for part in parts):
        raise wrong(where, f"{path!r:.80} is not a plain path inside the artifact's folder")
    return path


def _bad_part(part: str) -> bool:
    return part in ("", ".", "..") or part.endswith((" ", ".")) or bool(_WINDOWS_DEVICE.fullmatch(part))


def record(value: Any, where: str, keys: list[str]) -> dict[str, Any]:
    """Read an object with exactly ``keys``."""
    fields = mapping(value, where)
    if missing := [key for key in keys if key not in fields]:
        raise wrong(where, f"lacks {', '.join(missing)}")
    if unknown := [key for key in fields if key not in keys]:
        raise wrong(where, f"has the unknown key {unknown[0]!r:.80}")
    return fields


def mapping(value: Any, where: str) -> dict[str, Any]:
    """Read an object."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise wrong(where, f"expected an object, got {type(value).__name__}")
    return dict(value)


def items(value: Any, where: str) -> list[Any]:
    """Read a list."""
    if not isinstance(value, (list, tuple)):
        raise wrong(where, f"expected a list, got {type(value).__name__}")
    return list(value)


def text(value: Any, where: str, *, empty: bool = False) -> str:
    """Read text, which may be ``empty`` or not."""
    if not isinstance(value, str) or not (value or empty):
        raise wrong(where, f"expected text, got {value!r:.80}")
    return value


def count(value: Any, where: str) -> int:
    """Read a whole number from 0; of at most 63 bits, since no size is larger and a float holds it."""
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise wrong(where, f"expected a whole number, got {value!r:.80}")
    return value


def sha256(value: Any, where: str) -> str:
    """Read a SHA-256 in lower-case hexadecimal."""
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise wrong(where, f"expected 64 hexadecimal digits, got {value!r:.80}")
    return value


def choice(value: Any, choices: tuple[str, ...], where: str) -> str:
    """Read one of a few words."""
    if value not in choices:
        raise wrong(where, f"expected one of {', '.join(choices)}, got {value!r:.80}")
    return cast(str, value)


def optional(read: Callable[[Any, str], _T], value: Any, where: str) -> _T | None:
    """Read ``null``, or what ``read`` reads."""
    return None if value is None else read(value, where)
