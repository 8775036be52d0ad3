"""EXIF and colour profiles, which must survive but may be damaged."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

EXIF_PREFIX = b"Exif\0\0"
ORIENTATION = 0x0112
_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825

# What a TIFF's own directory says about the photo rather than about the file's layout: description, camera,
# software, date, artist, copyright.
PHOTO_TAGS = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298)

_TURNS: dict[int, Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]] = {
    2: np.fliplr,
    3: lambda a: a[::-1, ::-1],
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}


def turn_upright(array: np.ndarray[Any, Any], orientation: int) -> np.ndarray[Any, Any]:
    """Return a view of ``array`` (height x width, or with channels) turned as the EXIF orientation says."""
    turn = _TURNS.get(orientation)
    return array if turn is None else turn(array)


def upright_exif(block: bytes) -> bytes:
    """Return an EXIF block with the orientation set to 1 (upright) and the thumbnail unlinked.

    Changed in place, byte by byte: written anew, camera makers' notes would break, for they hold offsets.

    Raises:
        ValueError: the block is not EXIF.
    """
    data = bytearray(block.removeprefix(EXIF_PREFIX))
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(data[:4]))
    if order is None:
        raise ValueError("no TIFF header")
    try:
        (start,) = struct.unpack_from(order + "I", data, 4)
        (entries,) = struct.unpack_from(order + "H", data, start)
        for at in range(start + 2, start + 2 + 12 * entries, 12):
            (tag,) = struct.unpack_from(order + "H", data, at)
            if tag == ORIENTATION:
                struct.pack_into(order + "HIHH", data, at + 2, 3, 1, 1, 0)
        struct.pack_into(order + "I", data, start + 2 + 12 * entries, 0)
    except struct.error as error:
        raise ValueError(f"cut short: {error}") from error
    return EXIF_PREFIX + bytes(data)


def exif_of_tiff(image: Image.Image) -> bytes | None:
    """Return an EXIF block with what a TIFF's directories say about the photo, upright, or ``None``."""
    from PIL import Image

    read, kept = image.getexif(), Image.Exif()
    for tag in PHOTO_TAGS:
        if tag in read:
            kept[tag] = read[tag]
    for directory in (_EXIF_IFD, _GPS_IFD):
        if values := read.get_ifd(directory):
            kept[directory] = dict(values)
    if not len(kept):
        return None
    kept[ORIENTATION] = 1
    return upright_exif(kept.tobytes())


def tiff_tags_of_exif(block: bytes) -> dict[int, Any]:
    """Return the tags for a TIFF's directory that an EXIF block holds; a directory is a nested mapping."""
    from PIL import Image

    exif = Image.Exif()
    exif.load(block)
    tags: dict[int, Any] = {tag: exif[tag] for tag in PHOTO_TAGS if tag in exif}
    for directory in (_EXIF_IFD, _GPS_IFD):
        if values := dict(exif.get_ifd(directory)):
            values.pop(0xA005, None)  # interoperability: an offset into the old block
            tags[directory] = values
    return tags


def sound_icc(profile: bytes | None) -> bytes | None:
    """Return the profile if it has an ICC header.

    Raises:
        ValueError: it is something else.
    """
    if not profile:
        return None
    if len(profile) < 128 or profile[36:40] != b"acsp":
        raise ValueError("no ICC header")
    return profile


def icc_fits(profile: bytes, *, grey: bool) -> bool:
    """Say whether a profile describes pixels of one (``grey``) or of three channels."""
    return profile[16:20] == (b"GRAY" if grey else b"RGB ")
