"""Pairs of photos: the same scene blurred and sharp, in folders ``blur`` and ``sharp``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import BadInputError
from ..images import FORMATS


@dataclass(frozen=True)
class Pair:
    """Two files of one scene."""

    folder: str
    blurred: Path
    sharp: Path


def find_pairs(root: Path) -> list[Pair]:
    """Return the pairs in ``root`` or in the folders in it, by name.

    Raises:
        BadInputError: there are none, or a blurred picture has no partner.
    """
    folders = [root, *sorted(p for p in root.iterdir() if p.is_dir())] if root.is_dir() else []
    pairs = []
    for folder in folders:
        if not (folder / "blur").is_dir():
            continue
        for blurred in sorted((folder / "blur").iterdir()):
            if blurred.suffix.lower() not in FORMATS:
                continue
            partners = [p for p in (folder / "sharp").glob("*") if p.stem == blurred.stem]
            if len(partners) != 1:
                raise BadInputError(f"{blurred}: expected one file {blurred.stem}.* in {folder / 'sharp'}")
            pairs.append(Pair(folder.name, blurred, partners[0]))
    if not pairs:
        raise BadInputError(f"{root}: no folders 'blur' and 'sharp' with pictures in it, nor in its folders")
    return pairs
