"""Draw ``docs/before-after.jpg``: crops of photos before and after tiny, beside the sharp ones.

``python docs/before_after.py --board BLURRED SHARP`` needs PyTorch and the two files of ``pcb_005`` that
``docs/before-after-license.txt`` names. Nothing is resampled. The PSNR printed for a row is that of the crop.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from fdikp_edge.calibration import photos
from fdikp_edge.models import zoo
from fdikp_edge.models.evaluate import network
from fdikp_edge.runtime.images import read_photo
from fdikp_edge.runtime.pixels import psnr_db
from fdikp_edge.runtime.samples import defocused_photo
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

WIDTH, GAP, LINE = 272, 4, 22
LABELS = ("before", "after", "sharp")
PICTURE = Path(__file__).with_name("before-after.jpg")
Pixels = NDArray[np.float32]


def row(blurred: Path, sharp: Path, top: int, left: int, height: int) -> list[Pixels]:
    """Return the three crops of one row, float32 [height, WIDTH, 3] in [0, 1]."""
    before, truth = (np.asarray(read_photo(path).pixels, np.float32) / 255 for path in (blurred, sharp))
    after, _ = network(zoo.load("tiny"))(before, truth)
    pictures = [before, np.asarray(after, np.float32), truth]
    crops = [picture[top : top + height, left : left + WIDTH] for picture in pictures]
    figures = [psnr_db(crop, crops[2]) for crop in crops[:2]]
    print(f"{blurred.name}: {figures[0]:.2f} dB before, {figures[1]:.2f} dB after")
    return crops


def draw(rows: list[list[Pixels]]) -> Image.Image:
    """Put rows of crops under their labels."""
    height = LINE + sum(len(crops[0]) + GAP for crops in rows)
    sheet = Image.new("RGB", (3 * WIDTH + 2 * GAP, height), "white")
    for column, label in enumerate(LABELS):
        place = (column * (WIDTH + GAP) + 4, 3)
        ImageDraw.Draw(sheet).text(place, label, fill="black", font=ImageFont.load_default(size=14))
    top = LINE
    for crops in rows:
        for column, crop in enumerate(crops):
            sheet.paste(Image.fromarray((crop * 255).round().astype(np.uint8)), (column * (WIDTH + GAP), top))
        top += len(crops[0]) + GAP
    return sheet


def main() -> None:
    """Draw the picture from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--board", nargs=2, type=Path, metavar=("BLURRED", "SHARP"), required=True)
    parser.add_argument("--out", type=Path, default=PICTURE)
    options = parser.parse_args()
    portrait = Path(photos.__file__).with_name("astronaut.jpg")
    rows = [row(defocused_photo(), portrait, 20, 100, 272), row(*options.board, 16, 64, 200)]
    draw(rows).save(options.out, quality=93, subsampling=0)


if __name__ == "__main__":
    main()
