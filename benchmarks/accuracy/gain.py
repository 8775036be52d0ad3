"""How much nearer to the sharp photo a result is than the photo that went in, where it is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...calibration import photos
from ...runtime.images import FORMATS
from ...runtime.photo import Array, Photo
from ...runtime.pixels import psnr_db
from ...runtime.samples import defocused_photo


def sharp_of(photo: Path) -> Path | None:
    """Return the sharp photo of the same scene: a file ``sharp/NAME.*`` beside the folder of ``blur/NAME.*``,
    or the original of the sample that was put out of focus; ``None`` where neither is there.
    """
    if photo.resolve() == defocused_photo().resolve():
        return Path(photos.__file__).with_name("astronaut.jpg")
    if photo.resolve().parent.name != "blur":
        return None
    folder = photo.resolve().parent.with_name("sharp")
    partners = [file for file in sorted(folder.glob("*")) if file.stem == photo.stem]
    partners = [file for file in partners if file.suffix.lower() in FORMATS]
    return partners[0] if len(partners) == 1 else None


def gain(before: Photo, after: Photo, sharp: Photo) -> dict[str, float] | None:
    """Return the PSNR from ``sharp`` on a 0 to 1 scale, over all pixels: ``before_db`` and ``after_db``.

    ``None`` where the sharp photo has another size; a larger result of a network that scales has one, too.
    """
    if not before.pixels.shape == after.pixels.shape == sharp.pixels.shape:
        return None
    truth = _unit(sharp)
    return {
        "before_db": round(psnr_db(_unit(before), truth), 3),
        "after_db": round(psnr_db(_unit(after), truth), 3),
    }


def _unit(photo: Photo) -> Array:
    white = 255 if photo.pixels.dtype == np.uint8 else 65535
    unit: Array = photo.pixels.astype(np.float64) / white
    return unit
