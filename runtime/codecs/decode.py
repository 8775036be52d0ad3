"""Decode one photo file with Pillow, believing nothing about it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np

from ..errors import ImageError
from ..photo import MIN_SIDE, Photo
from . import libtiff, metadata
from .headers import BYTES_PER_PIXEL, FREE_BYTES, BoundedHeader, unsupported_tiff

if TYPE_CHECKING:
    from PIL import ImageFile

# How files begin: what is read, and what people try, to be told by name.
_MAGIC = (
    ("JPEG", rb"\xff\xd8\xff"),
    ("PNG", rb"\x89PNG\r\n\x1a\n"),
    ("TIFF", rb"II\*\0|MM\0\*|II\+\0|MM\0\+"),
    ("WEBP", rb"RIFF....WEBP"),
    ("GIF", rb"GIF8[79]a"),
    ("BMP", rb"BM"),
    ("a HEIC or AVIF photo", rb"....ftyp(heic|heix|mif1|msf1|heim|hevc|avif|avis)"),
    ("a video", rb"....ftyp|\x1aE\xdf\xa3"),
    ("a JPEG XL", rb"\xff\x0a|\0\0\0\x0cJXL "),
    ("a JPEG 2000", rb"\0\0\0\x0cjP  "),
    ("a PSD", rb"8BPS"),
    ("a PDF", rb"%PDF"),
    ("an SVG or XML document", rb"\s*<(\?xml|svg)"),
    ("a web page", rb"\s*<(!doctype|html)"),
    ("an archive", rb"PK\x03\x04|\x1f\x8b|7z\xbc"),
)
_READABLE = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF")
_DEEP_GREY = {"I;16", "I;16B", "I;16L", "I;16N"}
_DEEP_COLOR = re.compile(r"(RGB|RGBX|RGBA);16[BLN]")
_DEEP_GREY_ALPHA = "LA;16B"
_MAX_PAGES = 64
_limit_lock = threading.Lock()


def decode(stream: IO[bytes], path: Path, max_pixels: int) -> Photo:
    """Decode a photo; see :func:`fdikp_edge.runtime.images.read_photo`.

    Raises:
        ImageError: whatever keeps the file from being a photo we can carry through.
    """
    form = _sniff(stream.read(64), path)
    stream.seek(0)
    try:
        with _undisturbed() as warned:
            _check_header(stream, form, path, max_pixels)
            image = _open(stream, form)
            _check(image, path, max_pixels)
            photo = _photo(stream, image, form, path)
        remarks = dict.fromkeys(f"the decoder warned: {str(item.message)[:120]}" for item in warned)
        return dataclasses.replace(photo, notes=(*photo.notes, *list(remarks)[:3]))
    except ImageError:
        raise
    except ModuleNotFoundError as error:
        if error.name != "PIL":
            raise
        raise ImageError(
            f"{path}: photos are read with Pillow, which is not installed: pip install pillow"
        ) from error
    except MemoryError as error:
        raise ImageError(f"{path}: too large for this machine's memory; scale it down first") from error
    except Exception as error:  # on a damaged file a decoder may raise nearly anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ImageError(
            f"{path}: truncated or damaged {form} ({reason[:120]}). Get the file again"
        ) from error


def _sniff(head: bytes, path: Path) -> str:
    if not head:
        raise ImageError(f"{path}: is empty. Get the file again")
    for name, pattern in _MAGIC:
        if re.match(pattern, head, re.DOTALL | re.IGNORECASE if b"<" in pattern else re.DOTALL):
            if name in _READABLE:
                return name
            raise ImageError(f"{path}: is {name}, which is not accepted; save it as JPEG, PNG, TIFF or WebP")
    raise ImageError(f"{path}: is not a photo (JPEG, PNG, TIFF or WebP)")


@contextlib.contextmanager
def _undisturbed() -> Iterator[list[warnings.WarningMessage]]:
    """Set Pillow's bomb check aside while ours, with the caller's number, is in force; collect its warnings.

    Pillow's is a module-wide number, checked on opening and again in some decoders, and warning filters
    belong to the whole process. One reader at a time, so that each finds and leaves both as they were.
    """
    from PIL import Image

    with _limit_lock, libtiff.silent(), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield warned
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _open(stream: IO[bytes], form: str) -> ImageFile.ImageFile:
    """Read the header with the one plugin for the format: no other may guess at the file."""
    stream.seek(0)
    if form == "JPEG":
        from PIL.JpegImagePlugin import jpeg_factory

        return jpeg_factory(stream)
    if form == "PNG":
        from PIL.PngImagePlugin import PngImageFile

        return PngImageFile(stream)
    if form == "TIFF":
        from PIL.TiffImagePlugin import TiffImageFile

        return TiffImageFile(stream)
    if form == "BMP":
        from PIL.BmpImagePlugin import BmpImageFile

        return BmpImageFile(stream)
    if form == "GIF":
        from PIL.GifImagePlugin import GifImageFile

        return GifImageFile(stream)
    from PIL.WebPImagePlugin import WebPImageFile

    return WebPImageFile(stream)


def _check_header(stream: IO[bytes], form: str, path: Path, max_pixels: int) -> None:
    """Refuse, by what the header says, pixels of an unsupported kind, too many, or far fewer than the bytes.

    The header is read through a window of bounded effort, since a decoder would search a sparse file of many
    gigabytes for its end.
    """
    if form == "TIFF" and (kind := unsupported_tiff(stream)):
        raise ImageError(f"{path}: stores {kind}; save it again as 8 or 16 bit RGB or grey")
    width, height = _open(cast("IO[bytes]", BoundedHeader(stream)), form).size
    if width * height > max_pixels:
        return  # said in full by _check
    allowed = FREE_BYTES + BYTES_PER_PIXEL * width * height
    if (size := stream.seek(0, os.SEEK_END)) > allowed:
        raise ImageError(
            f"{path}: has {size} bytes for {width}x{height} pixels, which need at most {allowed}; it is "
            "damaged, or no photo"
        )


def _check(image: ImageFile.ImageFile, path: Path, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise ImageError(
            f"{path}: {width}x{height} is more than the {max_pixels} pixels allowed; "
            "scale it down, or allow more pixels"
        )
    if min(width, height) < MIN_SIDE:
        raise ImageError(f"{path}: {width}x{height} pixels is too small for a photo")
    if image.format in ("PNG", "WEBP", "GIF") and getattr(image, "is_animated", False):
        raise ImageError(f"{path}: is animated; save one frame as a photo of its own")
    if image.format == "TIFF" and _pages(image) > 1:
        raise ImageError(f"{path}: holds several pages; save each as a photo of its own")
    if image.format == "TIFF" and _deep_planes(image):
        raise ImageError(f"{path}: stores 16-bit colours in separate planes; save it interleaved")
    if image.mode == "CMYK":
        raise ImageError(f"{path}: is CMYK (for print); convert it to sRGB first")


def _pages(image: Any) -> int:
    """Count a TIFF's full-size pages; previews and masks are marked as such and do not count."""
    pages = 0
    for index in range(_MAX_PAGES):
        try:
            image.seek(index)
        except EOFError:
            break
        except SyntaxError:
            pass  # a layout Pillow does not read, but its tags are there
        pages += not (int(image.tag_v2.get(254, 0)) & 5 or image.tag_v2.get(255, 1) == 2)
    image.seek(0)
    return max(pages, 1)


def _deep_planes(image: Any) -> bool:
    """Say whether a TIFF keeps each colour apart with more than 8 bits, which Pillow reads as 8."""
    bits = image.tag_v2.get(258, (1,))
    return bool(image.tag_v2.get(284) == 2 and max(bits if isinstance(bits, tuple) else (bits,)) > 8)


def _photo(stream: IO[bytes], image: ImageFile.ImageFile, form: str, path: Path) -> Photo:
    rawmode = _rawmode(image)
    if rawmode in _DEEP_GREY:
        samples = _deep_grey(image)
    elif _DEEP_COLOR.fullmatch(rawmode) or (form == "PNG" and rawmode == _DEEP_GREY_ALPHA):
        samples = _deep_color(stream, image, form, rawmode)
    elif image.mode in ("1", "L", "LA", "P", "PA", "RGB", "RGBA") and ";16" not in rawmode:
        samples = _shallow(image)
    else:
        raise ImageError(
            f"{path}: stores {rawmode or image.mode} samples; save it as 8 or 16 bit RGB or grey"
        )

    notes: list[str] = []
    orientation, exif, icc = 1, None, None
    try:
        orientation = int(image.getexif().get(metadata.ORIENTATION, 1))
        block = image.info.get("exif")
        exif = metadata.exif_of_tiff(image) if form == "TIFF" else block and metadata.upright_exif(block)
    except Exception as error:  # a good photo is not refused for its damaged notes
        notes.append(f"EXIF is damaged ({error}) and left out")
    try:
        icc = metadata.sound_icc(image.info.get("icc_profile"))
    except ValueError as error:
        notes.append(f"the colour profile is damaged ({error}) and left out")

    samples = metadata.turn_upright(samples, orientation)
    height, width, channels = samples.shape
    grey = channels < 3
    color = np.broadcast_to(samples[..., :1], (height, width, 3)) if grey else samples[..., :3]
    return Photo(
        pixels=color,
        alpha=samples[..., -1] if channels in (2, 4) else None,
        grey=grey,
        icc=icc,
        exif=exif,
        dpi=_dpi(image.info.get("dpi"), turned=orientation > 4),
        source_format=form,
        source_mode=rawmode if ";" in rawmode else image.mode,
        source=path,
        notes=tuple(notes),
    )


def _rawmode(image: ImageFile.ImageFile) -> str:
    args = image.tile[0].args if image.tile else ""
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def _shallow(image: ImageFile.ImageFile) -> np.ndarray[Any, Any]:
    """Return height x width x channels of a photo with at most 8 bits."""
    image.load()
    clear = image.info.get("transparency") is not None
    if image.mode in ("P", "PA"):
        wanted = "RGBA" if clear or image.mode == "PA" else "RGB"
    elif image.mode in ("1", "L"):
        wanted = "LA" if clear else "L"
    else:
        wanted = "RGBA" if clear else image.mode
    converted = image if image.mode == wanted else image.convert(wanted)
    samples = np.asarray(converted)
    return samples[..., None] if samples.ndim == 2 else samples


def _deep_grey(image: ImageFile.ImageFile) -> np.ndarray[Any, Any]:
    clear = image.info.get("transparency")
    image.load()
    samples = np.asarray(image).astype(np.uint16)[..., None]
    if image.format == "TIFF" and image.tag_v2.get(262) == 0:  # type: ignore[attr-defined]
        samples = 65535 - samples  # white is stored as zero, which Pillow undoes for 8 bits only
    return _with_color_key(samples, clear)


def _deep_color(stream: IO[bytes], image: Any, form: str, rawmode: str) -> np.ndarray[Any, Any]:
    """Return 16-bit samples of a format that Pillow cuts to 8 bits.

    Pillow keeps the high byte of each sample. Told that the samples have the other byte order, it keeps the
    low one, so two passes give all 16 bits, through every filter, predictor and interlacing it knows.
    """
    clear = image.info.get("transparency")
    if rawmode == _DEEP_GREY_ALPHA:
        # Four bytes a pixel: read as RGBA they all come through in one pass.
        _set_rawmode(image, "RGBA")
        image.load()
        return np.ascontiguousarray(np.asarray(image)).view(">u2").astype(np.uint16)
    layout = rawmode.partition(";")[0]
    big = rawmode.endswith("B") or (rawmode.endswith("N") and sys.byteorder == "big")
    _set_rawmode(image, f"{layout};16{'B' if big else 'L'}")
    image.load()
    samples = np.asarray(image).astype(np.uint16)
    samples <<= 8
    again = _open(stream, form)
    _set_rawmode(again, f"{layout};16{'L' if big else 'B'}")
    again.load()
    samples |= np.asarray(again)
    return _with_color_key(samples, clear)


def _set_rawmode(image: Any, rawmode: str) -> None:
    image.tile = [
        tile._replace(args=rawmode if isinstance(tile.args, str) else (rawmode, *tile.args[1:]))
        for tile in image.tile
    ]


def _with_color_key(samples: np.ndarray[Any, Any], key: Any) -> np.ndarray[Any, Any]:
    """Add the alpha of a PNG that declares one colour to be transparent."""
    if key is None:
        return samples
    clear = (samples == np.asarray(key, np.uint16)).all(axis=2, keepdims=True)
    return np.concatenate([samples, np.where(clear, 0, 65535).astype(np.uint16)], axis=2)


def _dpi(value: Any, *, turned: bool) -> tuple[float, float] | None:
    try:
        x, y = (float(v) for v in value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    if not (0 < x < 1e5 and 0 < y < 1e5):
        return None
    return (y, x) if turned else (x, y)
