"""Deblur a photo with an artifact, on a machine without PyTorch.

An artifact is a folder that ``fdikp-edge deploy``, ``fdikp-edge export`` or ``export_and_verify.py`` wrote.
Opening it checks the hash of every file. ``Deblurrer`` cuts a photo of any size into overlapping tiles of the
size the network takes, and blends the results. Bit depth, colour profile and orientation stay.

Needs ``pip install fdikp-edge`` alone: NumPy, ONNX Runtime and Pillow. Run it with::

    python examples/deblur_photo.py ARTIFACT PHOTO RESULT.png
"""

from __future__ import annotations

import sys
from pathlib import Path

from fdikp_edge.runtime.deblur import Deblurrer
from fdikp_edge.runtime.errors import FdikpEdgeError
from fdikp_edge.runtime.images import read_photo, write_photo
from fdikp_edge.runtime.sessions import open_session


def main(artifact: Path, photo: Path, result: Path) -> None:
    """Deblur ``photo`` and write it to ``result``, whose suffix decides the format."""
    with open_session(artifact) as session:
        sharp = Deblurrer(session).photo(read_photo(photo))
    write_photo(result, sharp)
    print(f"{result}: written")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit("usage: python examples/deblur_photo.py ARTIFACT PHOTO RESULT.png")
    try:
        main(*map(Path, sys.argv[1:]))
    except FdikpEdgeError as error:  # such as: a damaged artifact, or a file that is no photo
        raise SystemExit(f"error: {error}") from None
