"""Command-line text to values; errors show a valid value."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..runtime.errors import BadInputError, SizeError

if TYPE_CHECKING:
    from ..calibration.mixed_precision import Bounds

MAX_SIDE = 65536
LARGEST_RADIUS = 32.0
"""Pixels; far beyond what a tile of 256 pixels can still show."""


def parse_size(text: str) -> tuple[int, int]:
    """Return (height, width) in pixels from ``256x384``; one number is a square.

    Raises:
        SizeError: not one or two whole numbers from 1 to 65536 with an ``x`` between them.
    """
    match = re.fullmatch(r"([0-9]{1,6})(?:\s*[xX×]\s*([0-9]{1,6}))?", text.strip())
    height, width = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise SizeError(f"--size {text!r} is not HEIGHTxWIDTH in pixels; write for example --size 256x384")
    return height, width


def photo_size(text: str) -> tuple[int, int] | None:
    """Return (height, width) of the photos from ``for:4000x6000``, or ``None`` if it is a size itself.

    Raises:
        SizeError: as :func:`parse_size`.
    """
    prefix, colon, size = text.strip().partition(":")
    return parse_size(size) if colon and prefix.lower() == "for" else None


def parse_input_sizes(texts: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Return name of an input -> its sizes, each from ``NAME=1x3x256x256``.

    Raises:
        BadInputError: not of this form, an input named twice, or a size of 0.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, _, sizes = text.rpartition("=")
        if not name or not re.fullmatch(r"[0-9]{1,9}([xX×][0-9]{1,9})*", sizes):
            raise BadInputError(
                f"--input {text!r:.80} is not NAME=SIZES; write for example --input x=1x3x256x256"
            )
        if name in shapes:
            raise BadInputError(f"--input names {name!r:.80} twice")
        shapes[name] = tuple(int(size) for size in re.split("[xX×]", sizes))
        if 0 in shapes[name]:
            raise BadInputError(f"--input {text!r:.80}: a size must be at least 1")
    return shapes


def parse_bounds(max_drop_db: float | None, min_speedup: float | None, pairs: Path | None) -> Bounds | None:
    """Return the bounds for mixed precision, or ``None`` if neither bound is given.

    Raises:
        BadInputError: a bound out of range, pairs without a bound, or a missing folder.
    """
    from ..calibration.mixed_precision import Bounds

    if max_drop_db is None and min_speedup is None:
        if pairs is not None:
            raise BadInputError(
                "--pairs needs --max-drop-db or --min-speedup: the limit is measured on the pairs"
            )
        return None
    if pairs is not None and not pairs.is_dir():
        raise BadInputError(f"--pairs {pairs}: no such folder")
    return Bounds(max_drop_db, min_speedup)


def parse_radii(text: str | None) -> tuple[float, ...]:
    """Return radii of blur in pixels, given as ``0,1.5,3``; none for ``None``.

    Raises:
        BadInputError: not such a list, or a radius below 0 or above :data:`LARGEST_RADIUS`.
    """
    if text is None:
        return ()
    try:
        radii = tuple(float(part) for part in text.split(","))
    except ValueError:
        radii = (math.nan,)
    if not all(0 <= radius <= LARGEST_RADIUS for radius in radii):
        raise BadInputError(
            f"--defocus {text}: give radii in pixels, 0 to {LARGEST_RADIUS:g}, as 0,1.5,3; 0 leaves photos "
            "as they are"
        )
    return radii


def check_photos(photos: Iterable[Path]) -> None:
    """Read every photograph once and let go of it, so that long work never ends at a wrong one.

    Raises:
        ImageError: one cannot be read.
    """
    from ..runtime.images import read_photo

    for path in photos:
        read_photo(path)


def check_model(model: str, size: tuple[int, int] | None = None) -> None:
    """Catch a wrong name or size before torch is loaded; a weights file is left to the reader of those.

    Raises:
        UnknownNameError: neither a variant nor a weights file.
        SizeError: the variant does not take images of ``size``.
    """
    from ..models.fdikp.variants import VARIANTS, get_variant

    path = Path(model)
    if model in VARIANTS or not (":" in model or path.suffix or path.exists() or path.name != model):
        variant = get_variant(model)
        if size is not None:
            variant.size.check(*size)
