"""Photographs to try things on, in the public domain (``LICENSE.txt`` beside them names their makers).

Two are as the camera took them: parity is proven on them. The third is put out of focus, to see deblurring
on.
"""

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


def sample_photos() -> list[Path]:
    """Return the paths of all that :func:`sample_names` lists."""
    return [sample_photo(name) for name in _FILES]


def defocused_photo() -> Path:
    """Return the path of a portrait put out of focus by the lens model of ``models/training``; 512x512, JPEG.

    The radius of its circle of confusion grows from 2 pixels on the left to 3.5 on the right.
    """
    return _FOLDER / "astronaut-defocused.jpg"
