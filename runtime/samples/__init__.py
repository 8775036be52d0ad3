"""Two photographs to try things on, in the public domain (``LICENSE.txt`` beside them names their makers)."""

from __future__ import annotations

from pathlib import Path

from ..errors import UnknownNameError

_FOLDER = Path(__file__).parent
_FILES = {"coffee": "coffee.jpg", "chelsea": "chelsea.png"}


def sample_names() -> list[str]:
    """Return the names :func:`sample_photo` knows."""
    return list(_FILES)


def sample_photo(name: str = "coffee") -> Path:
    """Return the path of a sample: ``coffee`` (600x400, JPEG, shallow focus) or ``chelsea`` (451x300, PNG).

    Raises:
        UnknownNameError: there is no such sample.
    """
    if name not in _FILES:
        raise UnknownNameError(f"no sample photo {name!r}; there are {', '.join(_FILES)}")
    return _FOLDER / _FILES[name]
