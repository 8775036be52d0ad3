"""What cutting a photo into tiles does to the result, and how much halo hides it.

    python -m fdikp_edge.benchmarks.studies.seam ARTIFACT photo.jpg --halo 0 --halo 32

Each photo is deblurred twice, over tiles that lie half a step apart, so that no seam lies where one did.
Where both agree, tiles do not matter; where the difference jumps at the seams but not elsewhere, an eye
could find them.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...runtime import program
from ...runtime.deblur import Deblurrer
from ...runtime.images import read_photo
from ...runtime.samples import sample_photos
from ...runtime.sessions import Session, open_session
from .. import script


def measure_seams(
    session: Session, photos: Sequence[Path], halos: Sequence[int | None]
) -> list[dict[str, Any]]:
    """Return one row per photo and halo: ``{"photo", "halo", "tiles", …}`` and the figures of a SeamReport.

    A halo of ``None`` is the deblurrer's own.

    Raises:
        ImageError: a path that is not a readable photo.
        BadInputError: a halo of half a tile or more.
    """
    rows = []
    for path in photos:
        photo = read_photo(path)
        for halo in halos:
            deblurrer = Deblurrer(session, halo=halo)
            tiles = deblurrer.grid(photo.height, photo.width).tiles
            seams = deblurrer.seam_report(photo).to_dict()
            rows.append({"photo": path.name, "halo": deblurrer.halo, "tiles": tiles, **seams})
    return rows


def show(result: dict[str, Any]) -> str:
    """Return a result as text."""
    columns = (
        "photo",
        "halo",
        "tiles",
        "PSNR dB",
        "max",
        "mean at seams",
        "elsewhere",
        "step at seams",
        "elsewhere",
    )
    rows = [
        (
            r["photo"],
            r["halo"],
            r["tiles"],
            f"{r['psnr_db']:.1f}",
            *(f"{r[k]:.1e}" for k in ("max_abs", "at_seams", "elsewhere", "step_at_seams", "step_elsewhere")),
        )
        for r in result["rows"]
    ]
    return "\n".join(
        (
            f"{result['artifact']}: difference between two cuts of each photo, white at 1",
            script.table(columns, rows),
            "A step of an 8-bit file is 3.9e-03.",
        )
    )


def main() -> None:
    """Read the command line and print the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m fdikp_edge.benchmarks.studies.seam",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("artifact", nargs="?", type=Path, help="artifact folder (default: tiny, built now)")
    parser.add_argument("photos", nargs="*", type=Path, help="photographs (default: the samples)")
    parser.add_argument(
        "--halo", type=int, action="append", help="in pixels; repeatable (default: the deblurrer's)"
    )
    parser.add_argument("--threads", type=int, help="of the runtime (default: all)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        artifact = given.artifact or script.tiny_artifact(Path(folder))
        photos = given.photos or sample_photos()
        with open_session(artifact, threads=given.threads) as session:
            rows = measure_seams(session, photos, given.halo or [None])
    script.finish({"artifact": artifact.name, "rows": rows}, given.json, show)


if __name__ == "__main__":
    program.run(main)
