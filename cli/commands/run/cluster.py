"""Folders of photos on a Ray cluster, on the command line."""

from __future__ import annotations

from pathlib import Path

from ....runtime.errors import BadInputError
from ... import show
from . import album
from .photos import PhotoRun, progress_seconds
from .video import is_video


def run(given: list[str], address: str, asked: PhotoRun) -> int:
    """Run one folder, or the address of one, on the cluster at ``address``, and return the exit code."""
    from ....runtime.albums.cluster.run import run_on_cluster
    from ....runtime.buckets.buckets import Buckets

    if any(is_video(one) for one in given):
        raise BadInputError("--ray takes photos; run a video on one machine")
    if len(given) != 1:
        raise BadInputError(f"--ray takes one folder, or the address of one; {len(given)} were given")
    if asked.tile != "passport":
        raise BadInputError("--ray and --tile auto exclude each other: nodes would measure different times")
    with show.working("connecting to the cluster") as step:
        ran = run_on_cluster(
            given[0],
            Buckets.open(asked.artifact),
            _address(asked.out),
            address=address,
            jobs=asked.jobs,
            threads=asked.threads or 1,
            progress=album.told(step, every=progress_seconds()),
            **asked.work_options(),
        )
    return album.finish(ran, asked.artifact, asked.json)


def _address(out: Path) -> str:
    """Return an output folder as it was typed: as a path, ``s3://bucket`` has lost a slash."""
    scheme, colon, rest = out.as_posix().partition(":/")
    if not colon or len(scheme) < 2 or "/" in scheme:  # one letter is a drive
        return str(out)
    return f"{scheme}:{'///' if scheme == 'file' else '//'}{rest.lstrip('/')}"
