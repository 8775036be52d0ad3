"""The photos of the report: read, scaled for a page and turned into data URIs."""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ...runtime.errors import ImageError
from ...runtime.images import DEFAULT_MAX_PIXELS, read_photo
from ...runtime.photo import Photo
from ..accuracy import error_map

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_WIDTH = 1160
"""The width of the page, in pixels. Wider pictures are scaled down to it; narrower ones stay as they are."""

_MAX_HEIGHT = 1800
_DETAIL = (1160, 640)
"""Width and height of the part that is shown at 1:1 of a photo that the page holds reduced."""
_QUALITY = 90
_MAX_ICC = 16 * 1024


@dataclass(frozen=True)
class Pictures:
    """The pictures of a report. A key is an artifact's ``path`` or its index in the report.

    Attributes:
        before: the photo that was deblurred, as a file or as the bytes of one; ``None`` for no slider.
        after: what each artifact made of it.
        errors: the map of an artifact's error and the reference's picture that it belongs to, as
            :func:`fdikp_edge.benchmarks.accuracy.error_map.save` wrote them.
        photo: what the photo is called; as the report says when ``None``.
        missing: a sentence for each picture that is not here, and should be.
    """

    before: Path | bytes | None = None
    after: Mapping[str | int | Path, Path] = field(default_factory=dict)
    errors: Mapping[str | int | Path, tuple[Path, Path]] = field(default_factory=dict)
    photo: str | None = None
    missing: Sequence[str] = ()


@dataclass(frozen=True)
class Viewer:
    """A photo and its deblurred versions. ``slider``: whether all of them line up."""

    before: Picture | None
    after: Sequence[Picture]
    photo: str | None
    slider: bool


@dataclass(frozen=True)
class ErrorGroup:
    """Maps over one picture of the reference: (key, label, map). ``reference`` is ``None`` if unreadable."""

    reference: Picture | None
    maps: list[tuple[str, str, Picture]]


@dataclass(frozen=True)
class Picture:
    """One picture in the page. ``full_width`` is the photo's own width in pixels, before scaling."""

    uri: str
    width: int
    height: int
    full_width: int
    labels: tuple[str, ...] = ()
    detail: str = ""
    """The middle of the photo at its own resolution; empty where the picture itself has that."""

    @property
    def label(self) -> str:
        """Whose picture it is."""
        return ", ".join(self.labels)


def embed(source: Path | bytes) -> Picture:
    """Read a photo and return it as a JPEG data URI of at most :data:`MAX_WIDTH` pixels in width.

    Raises:
        ImageError: not a photo that the deblurrer would read; see :mod:`fdikp_edge.runtime.images`.
    """
    if isinstance(source, bytes):
        from ...runtime.codecs.decode import decode

        try:
            photo = decode(io.BytesIO(source), Path("photo"), DEFAULT_MAX_PIXELS)
        except (OSError, ValueError) as error:
            raise ImageError(f"the photo's bytes cannot be read: {error}") from error
    else:
        photo = read_photo(source)
    return _jpeg(photo)


def embed_map(path: Path) -> Picture:
    """Read a map of the error and return it as a PNG data URI, drawn anew from its samples alone.

    Raises:
        ImageError: no such map.
    """
    image = error_map.picture(error_map.read_map(path))
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return Picture(_uri("png", stream), image.width, image.height, image.width)


def embed_errors(
    errors: Mapping[str | int | Path, tuple[Path, Path]], labels: Mapping[str, str]
) -> tuple[list[ErrorGroup], list[str]]:
    """Embed the maps of the error, grouped by the picture of the reference, which equal ones share.

    Returns:
        The groups in the order of ``errors``, and a sentence for each file that could not be read.
    """
    groups: dict[str, ErrorGroup] = {}
    trouble: list[str] = []
    for key, (path, reference) in errors.items():
        label = labels.get(str(key), str(key))
        try:
            drawn = embed_map(path)
        except ImageError as error:
            trouble.append(f"No map for {label}: {error}")
            continue
        try:
            under: Picture | None = embed(reference)
        except ImageError as error:
            under = None
            trouble.append(f"No reference picture for {label}: {error}")
        group = groups.setdefault("" if under is None else under.uri, ErrorGroup(under, []))
        group.maps.append((str(key), label, drawn))
    return list(groups.values()), trouble


def _uri(kind: str, stream: io.BytesIO) -> str:
    return f"data:image/{kind};base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def _jpeg(photo: Photo) -> Picture:
    from PIL import Image as pil

    pixels = photo.pixels if photo.bits == 8 else (photo.pixels // 257).astype("uint8")
    image = pil.fromarray(pixels)
    whole = image
    scale = min(MAX_WIDTH / image.width, _MAX_HEIGHT / image.height)
    if scale < 1:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, pil.Resampling.LANCZOS, reducing_gap=3.0)
    # The pixels are RGB now, so a grey profile would not fit; a huge one is a printer's.
    icc = photo.icc if photo.icc and not photo.grey and len(photo.icc) <= _MAX_ICC else None
    detail = "" if scale >= 1 else _encoded(_middle(whole), icc)
    return Picture(_encoded(image, icc), image.width, image.height, photo.width, detail=detail)


def _middle(image: Image) -> Image:
    width, height = (min(most, side) for most, side in zip(_DETAIL, image.size, strict=True))
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _encoded(image: Image, icc: bytes | None) -> str:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=_QUALITY, subsampling=0, optimize=True, icc_profile=icc)
    return _uri("jpeg", stream)


def embed_after(
    after: Mapping[str | int | Path, Path], labels: Mapping[str, str]
) -> tuple[list[Picture], list[str]]:
    """Embed what the artifacts made, pictures that are the same byte for byte only once.

    Args:
        after: see :class:`Pictures`.
        labels: the name to show for a key, by ``str(key)``; a key that is missing names itself.

    Returns:
        The pictures in the order of ``after``, and a sentence for each that could not be read.
    """
    pictures: dict[str, Picture] = {}
    trouble: list[str] = []
    for key, path in after.items():
        label = labels.get(str(key), str(key))
        try:
            picture = embed(path)
        except ImageError as error:
            trouble.append(f"No picture for {label}: {error}")
            continue
        held = pictures.get(picture.uri)
        names = (*held.labels, label) if held else (label,)
        pictures[picture.uri] = dataclasses.replace(picture, labels=names)
    return list(pictures.values()), trouble


def viewers(given: Sequence[Pictures], labels: Mapping[str, str]) -> tuple[list[Viewer], list[str]]:
    """Embed the photos of one run or of several; runs on the same photo share a viewer.

    Args:
        given: the pictures of each run.
        labels: see :func:`embed_after`.

    Returns:
        The viewers in the order of the runs, and a sentence for each picture that could not be read.
    """
    trouble: list[str] = []
    groups: dict[str, tuple[Picture | None, str | None, dict[str | int | Path, Path]]] = {}
    for run, pictures in enumerate(given):
        if pictures.before is None and not pictures.after:
            continue
        before = None
        try:
            before = None if pictures.before is None else embed(pictures.before)
        except ImageError as error:
            trouble.append(f"No picture of the input: {error}")
        group = groups.setdefault(before.uri if before else f"run {run}", (before, pictures.photo, {}))
        group[2].update(pictures.after)
    shown = []
    for before, photo, paths in groups.values():
        after, more = embed_after(paths, labels)
        trouble += more
        sizes = {(picture.width, picture.height) for picture in after}
        slider = before is not None and sizes == {(before.width, before.height)}
        shown.append(Viewer(before, after, photo, slider))
    return shown, trouble
