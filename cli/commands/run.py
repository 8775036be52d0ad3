"""``fdikp-edge run``: photos or arrays through an artifact; ``deblur`` is its older name."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from ...runtime.errors import BadInputError, OutputError
from .. import album, show, video
from ..guard import complain
from ..options import JsonOption, OverwriteOption, ThreadsOption
from ..signature import checks_signatures

if TYPE_CHECKING:
    from ...runtime.deblur import FileResult, Progress

DEFAULT_QUALITY = 95


VIDEOS = (".mp4", ".mkv", ".mov", ".webm", ".avi")


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
            "(measured now, and with a halo of at most 16).",
        ),
    ] = Tile.PASSPORT,
    quality: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, max=100, help="JPEG and WebP quality.", show_default=str(DEFAULT_QUALITY)
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
            "one folder or its address (s3://...), --out a folder that all nodes share.",
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
            help="Sessions that run at the same time; each takes its share of the threads.",
            show_default="1",
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
    is_video = camera is not None or any(one.lower().endswith(VIDEOS) for one in given)
    if not is_video:
        _refuse(for_videos, "for a video or a camera only")
    elif ray is None:
        _refuse(for_photos, "for photos only; the name of --out decides the format of a video")
    if ray is not None:
        return _run_on_cluster(
            given, artifact, out, ray, jobs, threads, overwrite, suffix, halo, quality, megapixels, tile, json
        )
    if is_video:
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
            overwrite=overwrite,
            json=json,
        )
    if not given:
        raise BadInputError("give photos, folders of photos, arrays or a video; see fdikp-edge run --help")
    images = [Path(one) for one in given]
    if arrays := _arrays(images, artifact, recursive):
        _refuse(
            {**for_photos, "--halo": halo},
            "for photos only; arrays go through whole and are written as .npz",
        )
        return _run_arrays(arrays, artifact, out, overwrite, threads, json)
    if jobs is not None or any(path.is_dir() for path in images):
        from ...runtime.albums.album import run_album
        from ...runtime.buckets.buckets import Buckets

        with show.working("opening the artifact") as step:
            ran_album = run_album(
                images,
                Buckets.open(artifact),
                out,
                jobs=jobs or 1,
                threads=threads,
                overwrite=overwrite,
                recursive=recursive,
                suffix=suffix,
                halo=halo,
                quality=quality or DEFAULT_QUALITY,
                max_pixels=_max_pixels(megapixels),
                tile=tile.value,
                progress=album.told(step, every=0.2 if sys.stderr.isatty() else album.LINE_SECONDS),
            )
        return album.finish(ran_album, artifact, json)
    with show.working("opening the artifact") as step:
        from ...runtime.buckets.buckets import Buckets
        from ...runtime.buckets.opened import OpenBuckets
        from ...runtime.deblur import deblur_files

        with OpenBuckets(Buckets.open(artifact), threads=threads) as opened:
            results = deblur_files(
                images,
                opened,
                out,
                overwrite=overwrite,
                recursive=recursive,
                suffix=suffix,
                halo=halo,
                quality=quality or DEFAULT_QUALITY,
                max_pixels=_max_pixels(megapixels),
                tile=tile.value,
                progress=lambda event: step(event.tile, event.tiles, _now(event)),
            )
            session = opened.any_session()
            ran, remark = session.describe(), session.remark
    if remark:
        complain(f"{artifact}: {remark}", kind="note")
    for result in results:
        if result.error is not None:
            complain(str(result.error))
        for note in result.notes:
            complain(f"{result.source}: {note}", kind="note")
    if json:
        show.as_json({"session": ran, "photos": [_plain(result) for result in results]})
    else:
        several = any(result.bucket for result in results)
        show.table(
            "Run with {runtime} {version}, {threads} threads, {arithmetic}".format(**ran),
            ("photo", "result", "size#", *(("bucket#",) if several else ()), "tiles#", "seconds#"),
            [_row(result, several) for result in results],
        )
    return max((result.error.exit_code for result in results if result.error is not None), default=0)


def _max_pixels(megapixels: int | None) -> int:
    from ...runtime.photo import DEFAULT_MAX_PIXELS

    return DEFAULT_MAX_PIXELS if megapixels is None else megapixels * 1_000_000


def _refuse(options: Mapping[str, object], why: str) -> None:
    """Refuse those of the options that were given, since they mean nothing for these inputs."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise BadInputError(f"{', '.join(given)}: {why}")


def _run_on_cluster(
    given: list[str],
    artifact: Path,
    out: Path,
    address: str,
    jobs: int | None,
    threads: int | None,
    overwrite: bool,
    suffix: str | None,
    halo: int | None,
    quality: int | None,
    megapixels: int | None,
    tile: Tile,
    json: bool,
) -> int:
    from ...runtime.albums.cluster.run import run_on_cluster
    from ...runtime.buckets.buckets import Buckets

    if any(one.lower().endswith(VIDEOS) for one in given):
        raise BadInputError("--ray takes photos; run a video on one machine")
    if len(given) != 1:
        raise BadInputError(f"--ray takes one folder, or the address of one; {len(given)} were given")
    if tile is not Tile.PASSPORT:
        raise BadInputError("--ray and --tile auto exclude each other: nodes would measure different times")
    with show.working("connecting to the cluster") as step:
        ran_album = run_on_cluster(
            given[0],
            Buckets.open(artifact),
            str(out),
            address=address,
            jobs=jobs,
            threads=threads or 1,
            overwrite=overwrite,
            suffix=suffix,
            halo=halo,
            quality=quality or DEFAULT_QUALITY,
            max_pixels=_max_pixels(megapixels),
            progress=album.told(step, every=0.2 if sys.stderr.isatty() else album.LINE_SECONDS),
        )
    return album.finish(ran_album, artifact, json)


def _now(event: Progress) -> str:
    name = event.source.name if event.source else "photo"
    return f"{name} ({event.photo + 1} of {event.photos})" if event.photos > 1 else name


def _plain(result: FileResult) -> dict[str, Any]:
    done = result.error is None
    return {
        "source": str(result.source),
        "output": str(result.output) if done else None,
        "error": None if done else str(result.error),
        "size": [result.height, result.width] if done else None,
        **({"bucket": result.bucket} if result.bucket else {}),
        "tiles": result.tiles,
        "seconds": round(result.seconds, 3),
        "notes": list(result.notes),
    }


def _row(result: FileResult, several: bool) -> tuple[str, ...]:
    bucket = (result.bucket,) if several else ()
    if result.error is not None:
        return (str(result.source), "failed", "", *bucket, "", "")
    size = f"{result.height}x{result.width}"
    return (
        str(result.source),
        str(result.output),
        size,
        *bucket,
        str(result.tiles),
        f"{result.seconds:.2f}",
    )


def _arrays(given: list[Path], artifact: Path, recursive: bool) -> list[Path]:
    """Return the arrays to run, those of folders included; none where photos are to be run.

    A folder stands for its photos where the artifact takes photos and the folder has some.
    """
    from ...models.sources.samples import ARRAYS
    from ...runtime.buckets.buckets import Buckets
    from ...runtime.images import FORMATS
    from ...runtime.tensors import described

    if any(path.suffix.lower() in ARRAYS and not path.is_dir() for path in given):
        return [file for path in given for file in _below(path, ARRAYS, recursive) or [path]]
    folders = [path for path in given if path.is_dir()]
    if not folders:
        return []
    passport = Buckets.open(artifact).passport
    if passport.maps_pictures and (
        len(folders) < len(given) or any(_below(folder, FORMATS, recursive) for folder in folders)
    ):
        return []
    arrays = [file for folder in folders for file in _below(folder, ARRAYS, recursive)]
    if not arrays and not passport.maps_pictures and len(folders) == len(given):
        raise BadInputError(
            f"no {' or '.join(ARRAYS)} files in {', '.join(map(str, folders))}; this artifact takes "
            f"{described(passport.inputs)}" + ("" if recursive else "; --recursive also searches subfolders")
        )
    return [*arrays, *(path for path in given if path not in folders)] if arrays else []


def _below(path: Path, kinds: Collection[str], recursive: bool) -> list[Path]:
    """Return the files of these kinds in a folder; none of what is no folder."""
    from ...runtime.batch import files_below

    return files_below(path, kinds, recursive=recursive) if path.is_dir() else []


def _run_arrays(
    files: list[Path], artifact: Path, out: Path, overwrite: bool, threads: int | None, json: bool
) -> int:
    import numpy as np

    from ...models.sources.base import TensorSpec
    from ...models.sources.samples import ARRAYS, read_sample, sample_shapes
    from ...runtime.buckets.buckets import Buckets
    from ...runtime.buckets.opened import OpenBuckets
    from ...runtime.files import check_place, making_folder, replacing
    from ...runtime.images import FORMATS

    if strange := [path for path in files if path.suffix.lower() not in ARRAYS]:
        raise BadInputError(f"{strange[0]}: give photos or arrays ({', '.join(ARRAYS)}), not both in one run")
    single = len(files) == 1 and out.suffix.lower() == ".npz"
    if not single and out.suffix.lower() in (*ARRAYS, *FORMATS) and not out.is_dir():
        wanted = "a file name that ends in .npz, or a folder" if len(files) == 1 else "a folder"
        raise OutputError(f"{out}: results of arrays are written as .npz; give {wanted} to --out")
    places = [out if single else out / f"{path.stem}.npz" for path in files]
    if len(set(places)) != len(places):
        raise BadInputError("two inputs have the same name, so their results would have one file")
    for place in places:
        check_place(place, overwrite=overwrite)
    buckets = Buckets.open(artifact)
    several = len(buckets.artifacts) > 1
    with show.working("opening the artifact") as step, OpenBuckets(buckets, threads=threads) as opened:
        rows: list[dict[str, Any]] = []
        for number, (path, place) in enumerate(zip(files, places, strict=True)):
            step(number, len(files), path.name)
            bucket = buckets.artifacts[0]
            if several:
                names = [end.name for end in bucket.passport.inputs]
                bucket = buckets.for_shapes(sample_shapes(path, names))
            session = opened.session(bucket)
            specs = [
                TensorSpec(name=end.name, shape=end.shape, dtype=end.dtype, value_range=None)
                for end in session.inputs
            ]
            results = session.run(read_sample(path, specs))
            with making_folder(place.parent), replacing(place) as beside, beside.open("wb") as stream:
                np.savez(stream, **cast("dict[str, Any]", results))
            shapes = {name: list(array.shape) for name, array in results.items()}
            which = {"bucket": buckets.name_of(bucket)} if several else {}
            rows.append({"source": str(path), "output": str(place), **which, "shapes": shapes})
        ran = opened.any_session().describe()
    if json:
        show.as_json({"session": ran, "arrays": rows})
        return 0
    show.table(
        "Run with {runtime} {version}, {threads} threads, {arithmetic}".format(**ran),
        ("input", "result", *(("bucket",) if several else ()), "arrays"),
        [
            (
                row["source"],
                row["output"],
                *((row["bucket"],) if several else ()),
                ", ".join(f"{n} {s}" for n, s in row["shapes"].items()),
            )
            for row in rows
        ],
    )
    return 0
