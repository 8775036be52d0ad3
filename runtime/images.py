"""Read and write photos without losing what a photographer cares about.

Read: JPEG, PNG, TIFF and WebP with 8 or 16 bits; BMP and GIF, which are not written; grey, palette and
transparent ones; upright by the EXIF orientation. Kept: bit depth, transparency, grey, colour profile, EXIF,
resolution. Not kept: XMP and IPTC, the EXIF thumbnail (it shows the photo before), the palette, the exact
compression. Refused, with an :class:`~fdikp_edge.runtime.errors.ImageError` naming the file and what to do:
anything damaged, too large, animated or of several pages, CMYK, or with samples other than 8 or 16 bit
integers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from .errors import BadInputError, ImageError, OutputError
from .files import replacing
from .outside.files import open_regular
from .photo import DEFAULT_MAX_PIXELS, FORMATS, MIN_SIDE, Photo

__all__ = ["DEFAULT_MAX_PIXELS", "FORMATS", "MIN_SIDE", "Photo", "read_photo", "write_photo"]


def read_photo(path: str | Path, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Photo:
    """Read a photo.

    Args:
        path: the file.
        max_pixels: refuse a larger photo before decoding it, so that a small file cannot fill the memory.

    Raises:
        ImageError: the file is missing, no photo, damaged, or of a kind not accepted; see the module.
    """
    file = Path(path)
    with open_regular(file, ImageError) as stream:
        from .codecs.decode import decode

        return decode(stream, file, max_pixels)


def write_photo(
    path: str | Path,
    photo: Photo,
    *,
    quality: int = 95,
    new: bool = False,
    before_rename: Callable[[Path, list[str]], None] | None = None,
) -> list[str]:
    """Write a photo in the format of the suffix, whole or not at all, over an existing file if there is one.

    JPEG (4:4:4) and WebP hold 8 bits, so 16 are rounded to 8 for them. PNG and TIFF lose nothing.

    Args:
        path: where to write; its folder is made where missing.
        photo: what to write.
        quality: of JPEG and WebP, from 1 to 100.
        new: replace nothing, not even a file that comes into being there meanwhile.
        before_rename: called with the complete temporary file and what will be returned, before the file
            takes its name.

    Returns:
        What the format could not hold, in words.

    Raises:
        BadInputError: a quality out of range.
        OutputError: no format for the suffix, a format that cannot hold the photo, or a place that cannot be
            written. Nothing is left behind.
        OutputExistsError: with ``new``, there is a file by now.
    """
    file = Path(path)
    check_writable(file, photo, quality)
    from .codecs.encode import encode

    with replacing(file, new=new) as temporary:
        with temporary.open("wb") as stream:
            notes = encode(stream, photo, output_format(file), quality)
        if before_rename is not None:
            before_rename(temporary, notes)
    return notes


def check_writable(file: Path, photo: Photo, quality: int) -> None:
    """Refuse what :func:`write_photo` cannot write: see there for the errors."""
    form = output_format(file)
    if not 1 <= quality <= 100:
        raise BadInputError(f"quality {quality}: expected 1 to 100")
    if form == "JPEG" and photo.alpha is not None and bool((photo.alpha != photo.white).any()):
        raise OutputError(f"{file}: JPEG cannot hold transparency; write .png, .tif or .webp")
    limit = {"JPEG": 65500, "WEBP": 16383}.get(form, 2**31 - 1)
    if max(photo.height, photo.width) > limit:
        raise OutputError(f"{file}: {form} holds at most {limit} pixels a side; write .png or .tif")


def output_format(path: Path) -> str:
    """Return the format that a file name asks for.

    Raises:
        OutputError: the suffix is none of :data:`FORMATS`.
    """
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        raise OutputError(f"{path}: cannot tell the format; end the name in {', '.join(FORMATS)}") from None
