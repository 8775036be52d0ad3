"""Folders of photos on a Ray cluster, on the command line."""

from __future__ import annotations

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
            str(asked.out),
            address=address,
            jobs=asked.jobs,
            threads=asked.threads or 1,
            progress=album.told(step, every=progress_seconds()),
            **asked.work_options(),
        )
    return album.finish(ran, asked.artifact, asked.json)
