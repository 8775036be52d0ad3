"""A video or a camera on the command line."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ....runtime.errors import BadInputError
from ... import show
from ...guard import complain
from . import album

if TYPE_CHECKING:
    from ....runtime.video.video import Video


RATE_SECONDS = 5.0
"""Over which the shown frames per second are taken."""
VIDEOS = (".mp4", ".mkv", ".mov", ".webm", ".avi")


def is_video(name: str) -> bool:
    """Say whether a name on the command line is that of a video."""
    return name.lower().endswith(VIDEOS)


def told(step: show.Step) -> Callable[[Video], None]:
    """Return a callback that shows frames per second while a video runs: those of the last seconds.

    Without a terminal it shows a line every ten seconds.
    """
    every = 0.2 if sys.stderr.isatty() else album.LINE_SECONDS
    began = last = time.monotonic()
    marks: deque[tuple[float, int]] = deque([(began, 0)])

    def tell(video: Video) -> None:
        nonlocal last
        now = time.monotonic()
        marks.append((now, video.frames))
        while len(marks) > 2 and marks[1][0] < now - RATE_SECONDS:
            marks.popleft()
        if now - last < every:
            return
        last = now
        since, frames = marks[0]
        rate = (video.frames - frames) / (now - since)
        left = max(video.expected - video.frames, 0)
        later = f", {album.duration(left / rate)} left" if left else ""
        step(video.frames, video.expected, f"{rate:.1f} frames/s{later}")

    return tell


def run(
    given: list[str],
    camera: int | None,
    artifact: Path,
    out: Path,
    *,
    every: int,
    side_by_side: bool,
    frames: int | None,
    halo: int | None,
    threads: int | None,
    jobs: int | None,
    overwrite: bool,
    json: bool,
) -> int:
    """Run one video or a camera, show frames per second, and return the exit code."""
    from ....runtime.buckets.buckets import Buckets
    from ....runtime.buckets.opened import OpenBuckets
    from ....runtime.deblurrer import Deblurrer
    from ....runtime.files import check_place
    from ....runtime.video.video import CAMERA_FORMATS, run_video

    if len(given) + (camera is not None) != 1:
        raise BadInputError("one video, or --camera, goes through at a time")
    camera_format = None
    source = given[0] if given else ""
    if camera is not None:
        camera_format = CAMERA_FORMATS.get(sys.platform)
        if camera_format is None:
            raise BadInputError(f"--camera: not supported on {sys.platform}")
        source = f"/dev/video{camera}" if sys.platform == "linux" else str(camera)
        if frames is None:
            raise BadInputError("--camera needs --frames: a camera does not end by itself")
    check_place(out, overwrite=overwrite)

    with (
        show.working("opening the artifact") as step,
        OpenBuckets(Buckets.open(artifact), threads=threads, jobs=jobs or 1) as opened,
    ):
        one, *others = opened.buckets.artifacts
        if others:
            raise BadInputError(f"{artifact}: holds several sizes; give the folder of one of them")
        first, *beside = opened.sessions(one, opened.jobs)
        video = run_video(
            source,
            Deblurrer(first, halo=halo, beside=beside),
            out,
            camera_format=camera_format,
            every=every,
            side_by_side=side_by_side,
            frames=frames,
            new=not overwrite,
            progress=told(step),
        )
        ran = opened.describe()
    facts = {
        "frames": video.frames,
        "frames_per_second": round(video.rate, 2),
        "audio_packets": video.audio_packets,
        "seconds": round(video.seconds, 2),
        "incomplete": video.incomplete,
        "output": str(out),
    }
    if video.incomplete:
        complain(
            f"{source}: gave {video.frames} pictures, and its container tells of {video.expected}: "
            "it ends early, is damaged, or its pictures come at uneven times",
            kind="note",
        )
    if json:
        show.as_json({"session": ran, "video": facts})
    else:
        show.line(album.ran_with(ran))
        show.facts("", [(name.replace("_", " "), str(value)) for name, value in facts.items()])
    return 0
