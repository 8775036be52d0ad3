"""The folder of sharp photographs: read once, kept small in memory, cut into detailed crops."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ...runtime.errors import BadInputError, ImageError
from ...runtime.images import FORMATS, read_photo

#: Reduced by these factors, a photo is sharp at the level of single pixels even where the lens was not.
REDUCTIONS = (2, 3, 4)
#: Of up to this many random places, the one with most detail is taken: blurred sky teaches little. Sometimes
#: the first is taken as it is, for smooth places are spoilt by a network that has never seen one.
CANDIDATES = 3


@dataclass(frozen=True)
class SharpPhoto:
    """One photo at every reduction that is large enough: uint8 tensors [3, H, W], sRGB."""

    name: str
    sha256: str
    reduced: tuple[Tensor, ...]


def read_photos(folder: Path, *, smallest: int) -> list[SharpPhoto]:
    """Read all photos of a folder, in the order of their names.

    Args:
        folder: JPEG, PNG, TIFF or WebP files; what else lies there is left alone.
        smallest: side in pixels below which a reduced photo is useless.

    Raises:
        BadInputError: no such folder, or no photo in it is large enough.
        ImageError: a photo cannot be read.
    """
    if not folder.is_dir():
        raise BadInputError(f"{folder}: no such folder of photographs")
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in FORMATS and p.is_file())
    photos = [photo for photo in (_read(file, smallest) for file in files) if photo.reduced]
    if not photos:
        need = smallest * REDUCTIONS[0]
        raise BadInputError(
            f"{folder}: none of its {len(files)} photographs is large enough; training needs at least "
            f"{need}x{need} pixels, since photos are reduced to be sharp"
        )
    return photos


def split(photos: Sequence[SharpPhoto], held_out: int) -> tuple[list[SharpPhoto], list[SharpPhoto]]:
    """Return (to train on, to validate on). Which are held out follows from the files' bytes alone.

    Raises:
        BadInputError: nothing would be left to train on.
    """
    if not 1 <= held_out < len(photos):
        raise BadInputError(
            f"{len(photos)} usable photographs, of which {held_out} should be held out: both sides need one"
        )
    chosen = {photo.sha256 for photo in sorted(photos, key=lambda photo: photo.sha256)[:held_out]}
    return [p for p in photos if p.sha256 not in chosen], [p for p in photos if p.sha256 in chosen]


def crop(photos: Sequence[SharpPhoto], side: int, generator: torch.Generator) -> Tensor:
    """Return a detailed place of one of the photos, turned and mirrored: float32 [3, side, side], sRGB."""
    places = [_place(photos, side, generator) for _ in range(1 + _below(CANDIDATES, generator))]
    best = max(places, key=_detail)
    turns = int(torch.randint(4, (), generator=generator))
    best = torch.rot90(best, turns, (1, 2))
    if torch.rand((), generator=generator) < 0.5:
        best = best.flip(2)
    return best.float() / 255


def _place(photos: Sequence[SharpPhoto], side: int, generator: torch.Generator) -> Tensor:
    reduced = photos[_below(len(photos), generator)].reduced
    picture = reduced[_below(len(reduced), generator)]
    top = _below(picture.shape[1] - side + 1, generator)
    left = _below(picture.shape[2] - side + 1, generator)
    return picture[:, top : top + side, left : left + side]


def _detail(picture: Tensor) -> float:
    green = picture[1, ::2, ::2].float()
    return float((green[1:] - green[:-1]).abs().mean() + (green[:, 1:] - green[:, :-1]).abs().mean())


def _below(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator))


def _read(file: Path, smallest: int) -> SharpPhoto:
    photo = read_photo(file).to_8bit()
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise ImageError(f"{file}: cannot be read: {error}") from error
    image = Image.fromarray(photo.pixels)
    reduced = []
    for factor in REDUCTIONS:
        if min(image.size) // factor >= smallest:
            small = image.reduce(factor)
            samples = torch.frombuffer(bytearray(small.tobytes()), dtype=torch.uint8)
            reduced.append(samples.reshape(small.height, small.width, 3).permute(2, 0, 1).contiguous())
    return SharpPhoto(file.name, digest, tuple(reduced))
