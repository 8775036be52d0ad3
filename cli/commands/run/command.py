"""``fdikp-edge run``: photos or arrays through an artifact; ``deblur`` is its older name."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from ....runtime.errors import BadInputError
from ...options import JsonOption, OverwriteOption, ThreadsOption
from ...signature import checks_signatures
from . import arrays, cluster, photos, video


class Tile(str, Enum):
    """How the size of tiles is chosen, as typed on the command line."""

    PASSPORT = "passport"
    AUTO = "auto"


@checks_signatures
def run(
    *,
    given: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT",
            help="Photos, folders of photos, or a video; .npz or .npy files for a network that takes other "
            "tensors.",
        ),
    ] = None,
    artifact: Annotated[
        Path,
        typer.Option(
            "--artifact", "-a", metavar="PATH", help="Artifact folder to run, or the folder of its sizes."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="PATH", help="Output folder; for a single photo, also a file name."
        ),
    ] = Path("results"),
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Also search subfolders.")] = False,
    suffix: Annotated[
        str | None,
        typer.Option(metavar="EXT", help="Output format, such as .png.", show_default="format of each photo"),
    ] = None,
    halo: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Half the overlap of neighbouring tiles, in pixels.",
            show_default="an eighth of the tile size",
        ),
    ] = None,
    tile: Annotated[
        Tile,
        typer.Option(
            metavar="NAME",
            help="How a size is chosen where there are several: passport (measured when built), or auto "
            "(measured now, and with a halo of at most 16; also how many sessions).",
        ),
    ] = Tile.PASSPORT,
    quality: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=100,
            help="JPEG and WebP quality.",
            show_default=str(photos.DEFAULT_QUALITY),
        ),
    ] = None,
    megapixels: Annotated[
        int | None,
        typer.Option(
            "--max-megapixels",
            metavar="N",
            min=1,
            max=10_000,
            help="Reject larger photos.",
            show_default="200",
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    threads: ThreadsOption = None,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="ADDRESS",
            help="Run on a Ray cluster: host:port, ray://host:port, auto, or local. INPUT is "
            "one folder or its address (s3://...), --out a folder that all nodes share, or an address.",
            show_default="this machine alone",
        ),
    ] = None,
    camera: Annotated[
        int | None,
        typer.Option("--camera", metavar="N", min=0, max=63, help="Camera to run; needs --frames."),
    ] = None,
    every: Annotated[
        int, typer.Option("--every", metavar="N", min=1, help="Of a video, run each N-th picture only.")
    ] = 1,
    frames: Annotated[
        int | None,
        typer.Option("--frames", metavar="N", min=1, help="Stop a video or camera after N pictures."),
    ] = None,
    side_by_side: Annotated[
        bool, typer.Option("--side-by-side", help="Put a video's own picture to the left of the result.")
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            metavar="N",
            min=1,
            max=256,
            help="Sessions that run at the same time, on several photos or on the tiles of one picture; each "
            "takes its share of the threads.",
            show_default="1, or measured with --tile auto",
        ),
    ] = None,
    json: JsonOption = False,
) -> int:
    """Run photos or arrays through an artifact.

    A photo of any size goes through in tiles that blend into each other, in bounded memory; a
    super-resolution network enlarges it. A .npz file holds an array for each input by name, a .npy file the
    only input; the results are written as .npz. In a folder that was built with several --size, each photo
    goes through the size that takes the least work, and each array through the size it has.

    What becomes of the photos of a folder is recorded in results.jsonl in the output folder. The same command
    goes on where an earlier one ended: it skips what is finished, if neither photo nor artifact has changed.
    """
    given = given or []
    for_photos = {
        "--suffix": suffix,
        "--quality": quality,
        "--max-megapixels": megapixels,
        "--jobs": jobs,
        "--tile": None if tile is Tile.PASSPORT else tile,
    }
    for_videos = {
        "--every": None if every == 1 else every,
        "--frames": frames,
        "--side-by-side": side_by_side or None,
    }
    runs_video = camera is not None or any(video.is_video(one) for one in given)
    if not runs_video:
        _refuse(for_videos, "for a video or a camera only")
    elif ray is None:
        others = {name: value for name, value in for_photos.items() if name != "--jobs"}
        _refuse(others, "for photos only; the name of --out decides the format of a video")
    asked = photos.PhotoRun(
        artifact=artifact,
        out=out,
        recursive=recursive,
        suffix=suffix,
        halo=halo,
        tile=tile.value,
        quality=quality,
        megapixels=megapixels,
        overwrite=overwrite,
        threads=threads,
        jobs=jobs,
        json=json,
    )
    if ray is not None:
        return cluster.run(given, ray, asked)
    if runs_video:
        return video.run(
            given,
            camera,
            artifact,
            out,
            every=every,
            side_by_side=side_by_side,
            frames=frames,
            halo=halo,
            threads=threads,
            jobs=jobs,
            overwrite=overwrite,
            json=json,
        )
    if not given:
        raise BadInputError("give photos, folders of photos, arrays or a video; see fdikp-edge run --help")
    images = [Path(one) for one in given]
    if files := arrays.among(images, artifact, recursive):
        _refuse(
            {**for_photos, "--halo": halo},
            "for photos only; arrays go through whole and are written as .npz",
        )
        return arrays.run(files, artifact, out, overwrite, threads, json)
    return photos.run(images, asked)


def _refuse(options: Mapping[str, object], why: str) -> None:
    """Refuse those of the options that were given, since they mean nothing for these inputs."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise BadInputError(f"{', '.join(given)}: {why}")
