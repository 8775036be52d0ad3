"""A video or a camera through a network: pictures are decoded, run and encoded, all else is copied.

Audio packets go into the result as they are, and each picture keeps its time stamp and time base.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..deblurrer import Deblurrer
from ..errors import BadInputError, ImageError, OutputError, TargetUnavailableError
from ..files import output_error, replacing
from ..outside.files import open_regular
from ..photo import DEFAULT_MAX_PIXELS, Array, Photo
from ..sessions.base import reason
from ..tiles.runner import photo_scale

INSTALL = 'pip install "fdikp-edge[video]"'
SUFFIXES = (".mp4", ".mkv", ".mov", ".avi")
"""Of the result: containers that hold H.264, which WebM does not."""
CODEC = "libx264"
# FFmpeg goes by what a file holds, whatever its name. Among its many formats are lists of other files and of
# addresses: only containers are read, and nothing that they refer to is opened.
BOUNDS = {"format_whitelist": "mov,matroska,avi", "protocol_whitelist": "none"}
_BUFFER = 1 << 20
_PACKET = 256
"""Bytes that a packet takes beside its content, about."""
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_UNEXPECTED = (ValueError, ArithmeticError, MemoryError, OSError)
"""What PyAV raises beside FFmpeg's errors where a header holds what it does not expect."""
MAX_EARLY_BYTES = 32 << 20
"""Of sound before the first picture, which is held until that comes."""
CAMERA_FORMATS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}


@dataclasses.dataclass
class Video:
    """What a run did: ``frames`` written, of which ``ran`` went through the network, and how long it took.

    ``expected`` is how many there will be as the container tells it; 0 if it does not, as for a camera.
    ``incomplete`` says that the source gave fewer pictures than its container tells, or damaged ones.
    """

    frames: int = 0
    ran: int = 0
    audio_packets: int = 0
    seconds: float = 0.0
    size: tuple[int, int] = (0, 0)
    expected: int = 0
    incomplete: bool = False

    @property
    def rate(self) -> float:
        """Frames that went through the network per second."""
        return self.ran / self.seconds if self.seconds > 0 else 0.0


def run_video(
    source: str | Path,
    deblurrer: Deblurrer,
    out: Path,
    *,
    camera_format: str | None = None,
    every: int = 1,
    side_by_side: bool = False,
    frames: int | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    new: bool = False,
    progress: Callable[[Video], None] | None = None,
) -> Video:
    """Run the pictures of a video through a network and write a video.

    Args:
        source: a video file, or the name of a camera if ``camera_format`` is given.
        deblurrer: of a network that keeps the size of its picture.
        out: the file to write, whole or not at all; H.264, with the audio of the source as it is.
        camera_format: the system's camera interface in FFmpeg (:data:`CAMERA_FORMATS`).
        every: run each ``every``-th picture and leave the others out; time stamps stay.
        side_by_side: put the source's picture to the left of the result.
        frames: stop after so many pictures of the result.
        max_pixels: refuse larger pictures.
        new: replace nothing, not even a file that comes into being at ``out`` meanwhile.
        progress: called after each picture.

    Raises:
        TargetUnavailableError: PyAV is not installed.
        ImageError: the source cannot be read, holds no video, or larger pictures.
        OutputError: the result cannot be written.
        BadInputError: a wrong number, or a network that enlarges.
    """
    if every < 1 or (frames is not None and frames < 1):
        raise BadInputError("every and frames: expected 1 or more")
    if photo_scale(deblurrer.session.artifact) != 1:
        raise BadInputError("a video goes through networks that keep the size of a picture")
    if out.suffix.lower() not in SUFFIXES:
        raise OutputError(f"{out}: cannot tell the format; end the name in {', '.join(SUFFIXES)}")
    av = _av()
    video = Video()
    with _opened(av, source, camera_format) as taken, replacing(out, new=new) as temporary:
        if not taken.streams.video:
            raise ImageError(f"{source}: holds no video")
        try:
            # Absolute, since FFmpeg takes what stands before a colon for a protocol.
            with av.open(str(temporary.absolute()), "w") as given:
                options = (every, side_by_side, frames, max_pixels)
                for _ in _frames(av, taken, given, deblurrer, video, *options):
                    if progress is not None:
                        progress(video)
        except (av.FFmpegError, *_UNEXPECTED) as error:
            code = getattr(error, "errno", None)
            if code in _NO_ROOM:
                raise output_error(out, OSError(code, os.strerror(code))) from error
            raise ImageError(
                f"{source}: damaged, or its kind cannot be copied to {out.suffix}: {reason(error)}"
            ) from error
        if not video.frames:
            raise ImageError(f"{source}: holds no pictures")
    return video


@contextlib.contextmanager
def _opened(av: Any, source: str | Path, camera_format: str | None) -> Iterator[Any]:
    """Open a camera, or a regular file of one of the formats of :data:`BOUNDS`.

    Raises:
        ImageError: it cannot be opened.
    """
    with contextlib.ExitStack() as stack:
        try:
            if camera_format is not None:
                taken = av.open(str(source), format=camera_format)
            else:
                file = stack.enter_context(open_regular(Path(source), ImageError))
                taken = av.open(file, options=BOUNDS, metadata_errors="replace", buffer_size=_BUFFER)
        except (av.FFmpegError, *_UNEXPECTED) as error:
            raise ImageError(f"{source}: cannot be read as a video: {reason(error)}") from error
        yield stack.enter_context(taken)


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise TargetUnavailableError(f"videos need PyAV, which is not installed here: {INSTALL}") from error
    return av


def _frames(
    av: Any,
    taken: Any,
    given: Any,
    deblurrer: Deblurrer,
    video: Video,
    every: int,
    side_by_side: bool,
    most: int | None,
    max_pixels: int,
) -> Iterator[None]:
    """Copy, run and encode; yields after each picture."""
    source = taken.streams.video[0]
    if source.codec_context is None:
        raise ImageError("its pictures are of a kind that this FFmpeg cannot decode")
    width, height = source.codec_context.width, source.codec_context.height
    if width * height > max_pixels:
        raise ImageError(f"{width}x{height} is more than the {max_pixels} pixels allowed")
    if min(width, height) < 2:
        raise ImageError(f"a picture of {width}x{height} pixels cannot be encoded")
    source.codec_context.options = {"max_pixels": str(max_pixels)}
    rate = source.average_rate or 25
    result = given.add_stream(CODEC, rate=rate)
    result.pix_fmt = "yuv420p"
    result.options = {"crf": "16", "preset": "veryfast"}
    result.codec_context.time_base = source.time_base
    told, slack = _told(taken, source)
    video.expected = min(-(-told // every), most or told)
    audio = {stream.index: given.add_stream_from_template(stream) for stream in taken.streams.audio}
    # The first picture says how large the result is, and nothing can be written before that is known.
    sound: list[Any] = []
    early = 0

    def copy_sound() -> None:
        given.mux(sound)
        video.audio_packets += len(sound)
        sound.clear()

    counter = itertools.count()
    left_out = 0  # of what an edit list cuts away
    began = time.perf_counter()
    for packet in taken.demux(source, *taken.streams.audio):
        if packet.stream.index in audio:
            if packet.dts is not None:
                packet.stream = audio[packet.stream.index]
                sound.append(packet)
                early += 0 if video.frames else packet.size + _PACKET
            if video.frames:
                copy_sound()
            elif early > MAX_EARLY_BYTES:
                raise ImageError(f"more than {MAX_EARLY_BYTES} bytes of sound before the first picture")
            continue
        left_out += packet.is_discard
        for frame in packet.decode():
            video.incomplete |= frame.is_corrupt
            if next(counter) % every:
                continue
            if (frame.width, frame.height) != (width, height):
                raise ImageError(
                    f"a picture of {frame.width}x{frame.height} pixels in a video of {width}x{height}"
                )
            picture = _run(deblurrer, _upright(frame), side_by_side)
            if not video.frames:
                # H.264 with colours at half resolution takes even sides only.
                result.height, result.width = (side // 2 * 2 for side in picture.shape[:2])
                video.size = (result.height, result.width)
            shown = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(picture[: result.height, : result.width]), format="rgb24"
            )
            shown.pts, shown.time_base = frame.pts, frame.time_base
            given.mux(result.encode(shown))
            copy_sound()
            video.frames += 1
            video.ran += 1
            video.seconds = time.perf_counter() - began
            yield
            if video.frames == most:
                given.mux(result.encode(None))
                return
    if video.frames:
        given.mux(result.encode(None))
    video.incomplete |= next(counter) + left_out + slack < told


def _told(taken: Any, source: Any) -> tuple[int, int]:
    """Return how many pictures the container tells of, 0 if it does not, and how many may be missing.

    Without a count they follow from the length and the rate, which are roughly right only: sound may be
    longer than the pictures.
    """
    if source.frames:
        return source.frames, 0
    rate, length = source.average_rate, taken.duration  # in microseconds
    if not rate or not length or length < 0:
        return 0, 0
    about = min(round(length * rate / 1_000_000), 1 << 31)
    return about, 2 + about // 10


def _upright(frame: Any) -> Array:
    """Return the pixels of a frame as they are to be seen: phones store them lying, with a mark, which
    older PyAV does not tell."""
    return np.rot90(frame.to_ndarray(format="rgb24"), round(getattr(frame, "rotation", 0) / 90))


def _run(deblurrer: Deblurrer, pixels: Array, side_by_side: bool) -> Array:
    result = deblurrer.photo(Photo(pixels)).pixels
    return np.concatenate([pixels, result], axis=1) if side_by_side else result
