"""Encode one photo, in the format asked for, with all the metadata that format can hold."""

from __future__ import annotations

import dataclasses
import importlib.util
from typing import IO, Any

import numpy as np

from ..errors import OutputError
from ..photo import Photo
from . import metadata
from .png import write_png
from .tiff import write_tiff

_MAX_JPEG_EXIF = 65533


class _Sink:
    """The stream without its file number: Pillow then writes through Python, and a full disk says so."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.write, self.flush = stream.write, stream.flush
        self.seek, self.tell = stream.seek, stream.tell


def encode(stream: IO[bytes], photo: Photo, form: str, quality: int) -> list[str]:
    """Write ``photo`` to an empty stream; see :func:`fdikp_edge.runtime.images.write_photo`.

    Returns:
        What the format could not hold, in words.
    """
    notes: list[str] = []
    if photo.bits == 16 and form in ("JPEG", "WEBP"):
        notes.append(f"{form} holds 8 bits; 16 were rounded to 8")
        photo = photo.to_8bit()
    if photo.alpha is not None and form == "JPEG":
        photo = dataclasses.replace(photo, alpha=None)  # opaque everywhere, the caller made sure
    deep_grey_alpha = form == "TIFF" and photo.bits == 16 and photo.alpha is not None
    if photo.grey and (form == "WEBP" or deep_grey_alpha):  # neither has a grey that readers agree on
        photo = dataclasses.replace(photo, grey=False)
    icc, exif = photo.icc, photo.exif
    if icc and not metadata.icc_fits(icc, grey=photo.grey):
        notes.append("the colour profile describes another kind of pixels and was left out")
        icc = None
    if exif and form == "JPEG" and len(exif) > _MAX_JPEG_EXIF:
        notes.append("EXIF is larger than JPEG can hold and was left out")
        exif = None
    samples = photo.samples()
    if form == "TIFF":
        tags: dict[int, Any] = {}
        try:
            tags = metadata.tiff_tags_of_exif(exif) if exif else {}
        except Exception as error:  # damaged further in than the header
            notes.append(f"EXIF is damaged ({error}) and was left out")
        write_tiff(stream, samples, icc=icc, tags=tags, dpi=photo.dpi)
    elif form == "PNG" and (photo.bits == 16 or importlib.util.find_spec("PIL") is None):
        bare = exif.removeprefix(metadata.EXIF_PREFIX) if exif else None
        write_png(stream, samples, icc=icc, exif=bare, dpi=photo.dpi)
    else:
        _with_pillow(stream, samples, form, quality, {"icc_profile": icc, "exif": exif, "dpi": photo.dpi})
    return notes


def _with_pillow(
    stream: IO[bytes], samples: np.ndarray[Any, Any], form: str, quality: int, extra: dict[str, Any]
) -> None:
    try:
        from PIL import Image
    except ImportError as error:
        raise OutputError(f"{form} is written with Pillow, which is not installed; write .png") from error

    options = {key: value for key, value in extra.items() if value}
    if form == "JPEG":
        options.update(quality=quality, subsampling=0)
        if "dpi" in options:
            options["dpi"] = tuple(round(value) for value in options["dpi"])
    elif form == "WEBP":
        options.update(quality=quality, alpha_quality=100, exact=True, method=4)
        options.pop("dpi", None)
    array = np.ascontiguousarray(samples[..., 0] if samples.shape[2] == 1 else samples)
    image = Image.fromarray(array)
    image.save(_Sink(stream), form, **options)  # type: ignore[arg-type]
