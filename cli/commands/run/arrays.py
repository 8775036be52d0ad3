"""Arrays on the command line, for networks that take other tensors than photos."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....runtime.errors import BadInputError, OutputError
from ... import show
from ...guard import complain

if TYPE_CHECKING:
    from ....runtime.photo import Array


def among(given: list[Path], artifact: Path, recursive: bool) -> list[Path]:
    """Return the arrays to run, those of folders included; none where photos are to be run.

    A folder stands for its photos where the artifact takes photos and the folder has some.
    """
    from ....models.sources.samples import ARRAYS
    from ....runtime.buckets.buckets import Buckets
    from ....runtime.images import FORMATS
    from ....runtime.tensors import described

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
    from ....runtime.batch import files_below

    return files_below(path, kinds, recursive=recursive) if path.is_dir() else []


def _not_finite(arrays: Mapping[str, Array]) -> dict[str, int]:
    """Return how many values of each array are NaN or infinite, of those that have some."""
    import numpy as np

    counts = {name: int(np.size(array) - np.isfinite(array).sum()) for name, array in arrays.items()}
    return {name: count for name, count in counts.items() if count}


def run(
    files: list[Path], artifact: Path, out: Path, overwrite: bool, threads: int | None, json: bool
) -> int:
    """Run arrays, write a .npz file for each, and return the exit code."""
    from ....models.sources.base import TensorSpec
    from ....models.sources.samples import ARRAYS, read_sample, sample_shapes
    from ....runtime.buckets.buckets import Buckets
    from ....runtime.buckets.opened import OpenBuckets
    from ....runtime.files import check_place, making_folder, replacing
    from ....runtime.images import FORMATS
    from ....runtime.outside.zips import write_npz
    from .album import ran_with

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
            with (
                making_folder(place.parent),
                replacing(place, new=not overwrite) as beside,
                beside.open("wb") as stream,
            ):
                write_npz(stream, results)
            shapes = {name: list(array.shape) for name, array in results.items()}
            row: dict[str, Any] = {"source": str(path), "output": str(place), "shapes": shapes}
            row |= {"bucket": buckets.name_of(bucket)} if several else {}
            row |= {"not_finite": missing} if (missing := _not_finite(results)) else {}
            rows.append(row)
        ran = opened.any_session().describe()
    for row in rows:
        for name, count in row.get("not_finite", {}).items():
            complain(f"{row['output']}: {count} values of {name} are NaN or infinite", kind="note")
    if json:
        show.as_json({"session": ran, "arrays": rows})
        return 0
    show.table(
        ran_with(ran),
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
