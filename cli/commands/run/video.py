"""A video or a camera on the command line."""

from __future__ import annotations

import sys
from pathlib import Path

from ....runtime.errors import BadInputError
from ... import show

VIDEOS = (".mp4", ".mkv", ".mov", ".webm", ".avi")


def is_video(name: str) -> bool:
    """Say whether a name on the command line is that of a video."""
    return name.lower().endswith(VIDEOS)


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
    overwrite: bool,
    json: bool,
) -> int:
    """Run one video or a camera, show frames per second, and return the exit code."""
    from ....runtime.deblurrer import Deblurrer
    from ....runtime.files import check_place
    from ....runtime.sessions import open_session
    from ....runtime.video.video import CAMERA_FORMATS, Video, run_video

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

    with show.working("opening the artifact") as step:

        def progress(video: Video) -> None:
            step(video.frames, frames or 0, f"{video.rate:.1f} frames/s")

        with open_session(artifact, threads=threads) as session:
            video = run_video(
                source,
                Deblurrer(session, halo=halo),
                out,
                camera_format=camera_format,
                every=every,
                side_by_side=side_by_side,
                frames=frames,
                progress=progress if sys.stderr.isatty() else None,
            )
            ran = session.describe()
    facts = {
        "frames": video.frames,
        "frames_per_second": round(video.rate, 2),
        "audio_packets": video.audio_packets,
        "seconds": round(video.seconds, 2),
        "output": str(out),
    }
    if json:
        show.as_json({"session": ran, "video": facts})
    else:
        show.line("Run with {runtime} {version}, {threads} threads, {arithmetic}".format(**ran))
        show.facts("", [(name.replace("_", " "), str(value)) for name, value in facts.items()])
    return 0
