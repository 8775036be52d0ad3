"""Inputs described on the command line: ``NAME=1x1x256x256[:dtype][:lo..hi][:picture]``."""

from __future__ import annotations

import re

from ...runtime.errors import SourceError
from .base import COLORS, DTYPES, TensorSpec

EXAMPLE = "kernel=1x1x15x15:0..1"
_RANGES: dict[str, tuple[float, float] | None] = {
    "uint8": (0.0, 255.0),
    "bool": None,
    "complex64": (-1.0, 1.0),
}
_COLOR_WORDS = {name.lower(): name for name in COLORS} | {"gray": "grey", "picture": ""}


def parse_input(text: str) -> TensorSpec:
    """Return the input that a text describes.

    The text is a name, ``=``, the sides of the shape with ``x`` between them, and then, each at most once and
    in any order, with ``:`` in front:

    - a dtype, ``float32`` if none is given; ``complex64`` is float32 with a last side of 2 in artifacts;
    - a range ``lo..hi``: 0..1 if none is given, 0..255 for uint8, -1..1 for both parts of complex numbers;
      integers need one;
    - ``rgb``, ``grey``, ``rgba``, or ``picture`` (no colours): photos can be put in. The last two sides of a
      picture can be ``HxW``, which ``--size`` sets.

    Raises:
        SourceError: it is not such a text, or contradicts itself.
    """
    name, equals, rest = text.partition("=")
    shape_text, *options = rest.split(":")
    if not equals or not shape_text:
        raise SourceError(f"--input {text}: write NAME=SHAPE, such as --input {EXAMPLE}")
    dtype, bounds, color = None, None, None
    for option in options:
        word = option.strip()
        if word in DTYPES and dtype is None:
            dtype = word
        elif ".." in word and bounds is None:
            bounds = _range(text, word)
        elif word.lower() in _COLOR_WORDS and color is None:
            color = _COLOR_WORDS[word.lower()]
        else:
            raise SourceError(
                f"--input {text}: {word!r} is no dtype ({', '.join(DTYPES)}), no range (lo..hi) and no "
                "kind of picture (rgb, grey, rgba, picture), or is the second of its kind"
            )
    dtype = dtype or "float32"
    if bounds is None and dtype in ("int32", "int64"):
        raise SourceError(f"--input {text}: give the range of {dtype} values too, such as :0..9")
    try:
        return TensorSpec(
            name=name.strip(),
            shape=_shape(text, shape_text),
            dtype=dtype,
            value_range=bounds or _RANGES.get(dtype, (0.0, 1.0)),
            layout=None if color is None else "NCHW",
            color=color or "",
        )
    except SourceError as error:
        raise SourceError(f"--input {text}: {error}") from None


def _shape(text: str, shape: str) -> tuple[int | None, ...]:
    sides: list[int | None] = []
    for side in re.split("[x×]", shape.strip()):
        if side in ("H", "W"):
            sides.append(None)
        elif re.fullmatch("[0-9]{1,9}", side):
            sides.append(int(side))
        else:
            raise SourceError(
                f"{side!r} is no side; write whole numbers with x between them, such as {EXAMPLE}"
            )
    return tuple(sides)


def _range(text: str, word: str) -> tuple[float, float]:
    low, _, high = word.partition("..")
    try:
        return float(low), float(high)
    except ValueError:
        raise SourceError(f"--input {text}: {word!r} is no range; write two numbers, such as 0..1") from None
