"""A photo beside what a session makes of it, as one picture to look at."""

from __future__ import annotations

import numpy as np

from ..deblurrer import Deblurrer
from ..photo import Photo
from ..sessions.base import Session

GAP = 8
"""White pixels between the two."""


def before_after(session: Session, photo: Photo) -> Photo:
    """Return ``photo`` to the left of its result, at the size of the result, 8 bits.

    The session maps one picture to one as large or a whole number of times larger; the photo's pixels are
    repeated to that size.

    Raises:
        BadInputError: the session does not map pictures.
    """
    after = Deblurrer(session).photo(photo).pixels
    scale = after.shape[0] // photo.height
    before = photo.pixels.repeat(scale, axis=0).repeat(scale, axis=1)
    gap = np.full((after.shape[0], GAP, 3), 255, np.uint8)
    return Photo(np.concatenate([before, gap, after], axis=1))
