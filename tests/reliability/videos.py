"""A right video of each container, the damage done to it, and a network that it goes through."""

from __future__ import annotations

import functools
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import small_bundle


def seed(suffix: str) -> Callable[[Path], Path]:
    """Return a maker of a second of moving pictures with a tone."""

    def make(folder: Path) -> Path:
        import av

        path = folder / f"x{suffix}"
        with av.open(str(path), "w") as container:
            pictures = container.add_stream("libx264", rate=10)
            pictures.width, pictures.height, pictures.pix_fmt = 48, 32, "yuv420p"
            sound = container.add_stream("aac", rate=48000)
            for number in range(10):
                pixels = np.full((32, 48, 3), number * 20, np.uint8)
                container.mux(pictures.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(pictures.encode(None))
            tone = np.sin(np.arange(1024, dtype=np.float32) / 7)[None].repeat(2, axis=0)
            for number in range(10):
                frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="stereo")
                frame.sample_rate, frame.pts = 48000, number * 1024
                container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
        return path

    return make


def number_in_index(rng: random.Random, data: bytes) -> bytes:
    """Set four bytes of an MP4's index (sizes, times, places of pictures) to a number at a bound."""
    at = rng.randrange(data.rfind(b"moov"), len(data) - 4)
    number = rng.choice((0, 1, 0x7FFF, 0xFFFF, 0x10000, 0x4000_0000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF))
    return data[:at] + struct.pack(">I", number) + data[at + 4 :]


@functools.cache
def _network() -> Any:
    from fdikp_edge.runtime.artifact import Artifact
    from fdikp_edge.runtime.deblurrer import Deblurrer
    from fdikp_edge.runtime.sessions import open_session

    place = Path("output").absolute() / "network"
    return Deblurrer(open_session(Artifact.open(small_bundle.make(place)), threads=1))


def run(path: Path) -> Any:
    """Run a video; an honest one has ten pictures, a damaged one may claim a million of them."""
    from fdikp_edge.runtime.video.video import run_video

    return run_video(path, _network(), path.parent / "output" / "out.mkv", frames=20)


def judge(path: Path, result: Any) -> str:
    out = path.parent / "output" / "out.mkv"
    return "" if 0 < result.frames <= 20 and out.exists() else f"{result.frames} pictures"
