"""A video keeps its sound, its time stamps and the number of its pictures."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.deblurrer import Deblurrer
from fdikp_edge.runtime.errors import BadInputError, ImageError, OutputError
from fdikp_edge.runtime.sessions import open_session
from fdikp_edge.runtime.video.video import Video, run_video

av = pytest.importorskip("av", reason="PyAV is not installed (extra `video`)")

FRAMES, RATE, SECONDS = 20, 10, 2


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Two seconds of a moving gradient with a tone, whose pictures do not come at even times."""
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=RATE)
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        audio = container.add_stream("aac", rate=48000)
        for number in range(FRAMES):
            pixels = np.zeros((64, 96, 3), np.uint8)
            pixels[..., 0] = np.arange(96) * 2
            pixels[:, number * 4 : number * 4 + 8] = 220
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number * 100 + (number % 3) * 7, Fraction(1, 1000)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        samples = (0.3 * np.sin(2 * np.pi * 440 * np.arange(SECONDS * 48000) / 48000)).astype(np.float32)
        for start in range(0, len(samples), 1024):
            part = np.ascontiguousarray(np.tile(samples[None, start : start + 1024], (2, 1)))
            sound = av.AudioFrame.from_ndarray(part, format="fltp", layout="stereo")
            sound.sample_rate, sound.pts, sound.time_base = 48000, start, Fraction(1, 48000)
            container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
    return path


def contents(path: Path) -> tuple[list[Any], list[Fraction], list[Any]]:
    """Audio packets (time, bytes), times of pictures in seconds, and the pictures."""
    with av.open(str(path)) as container:
        packets = [
            (packet.pts * packet.time_base, bytes(packet))
            for packet in container.demux(container.streams.audio[0])
            if packet.size
        ]
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        return packets, [f.pts * f.time_base for f in frames], [f.to_ndarray(format="rgb24") for f in frames]


@pytest.fixture
def half(make_artifact: Callable[..., Artifact]) -> Any:
    with open_session(make_artifact("half"), threads=1) as session:
        yield Deblurrer(session)


def test_sound_and_times_are_intact_and_pictures_ran(half: Deblurrer, clip: Path, tmp_path: Path) -> None:
    seen: list[int] = []
    video = run_video(clip, half, tmp_path / "out.mp4", progress=lambda now: seen.append(now.frames))
    before, after = contents(clip), contents(tmp_path / "out.mp4")
    assert len(before[0]) > 80 and after[0] == before[0]
    assert len(before[1]) == FRAMES and after[1] == before[1]
    assert isinstance(video, Video) and video.audio_packets == len(before[0]) and video.rate > 0
    assert seen == list(range(1, FRAMES + 1))
    for source, result in zip(before[2], after[2], strict=True):
        assert np.abs(result.astype(float) - source / 2).mean() < 4


def test_every_and_side_by_side(half: Deblurrer, clip: Path, tmp_path: Path) -> None:
    run_video(clip, half, tmp_path / "out.mkv", every=3, side_by_side=True)
    before, after = contents(clip), contents(tmp_path / "out.mkv")
    # Matroska has no negative times, so sound and pictures both begin later by the encoder's delay.
    shift = float(after[0][0][0] - before[0][0][0])
    times = [round(float(time) + shift, 3) for time in before[1][::3]]
    assert [round(float(time), 3) for time in after[1]] == times
    assert [data for _, data in after[0]] == [data for _, data in before[0]]
    pixels = after[2][0].astype(float)
    assert pixels.shape == (64, 192, 3)
    assert np.abs(pixels[:, :96] - before[2][0]).mean() < 4
    assert np.abs(pixels[:, 96:] - before[2][0] / 2).mean() < 4


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nother.mp4\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile other.mp4\n",
        ";FFMETADATA1\ntitle=x\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    ],
    ids=["playlist", "list", "metadata", "address"],
)
def test_a_file_that_refers_to_others_is_no_video(
    text: str, half: Deblurrer, clip: Path, tmp_path: Path
) -> None:
    clip.rename(tmp_path / "other.mp4")
    (tmp_path / "x.mp4").write_text(text)
    with pytest.raises(ImageError, match=r"x\.mp4"):
        run_video(tmp_path / "x.mp4", half, tmp_path / "out.mp4")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_names_are_paths_and_only_regular_files_are_read(
    half: Deblurrer, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.mp4")
    for source in ("pipe.mp4", "concat:clip.mp4", "file:clip.mp4", "http://127.0.0.1:9/x.mp4", "."):
        with pytest.raises(ImageError, match=r"regular file|no such file"):
            run_video(source, half, tmp_path / "out.mp4")
    for out in ("pipe:/out.mp4", "a:b/out.mp4"):
        assert run_video("clip.mp4", half, Path(out), frames=1).frames == 1
        assert [file.name for file in Path(out).parent.iterdir()] == ["out.mp4"]


def test_a_video_that_is_stored_lying_comes_out_upright(half: Deblurrer, clip: Path, tmp_path: Path) -> None:
    data = bytearray(clip.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40  # of the first track, the pictures: 90 degrees clockwise
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 64 << 16, 0, 1 << 30)
    (tmp_path / "lying.mp4").write_bytes(data)
    video = run_video(tmp_path / "lying.mp4", half, tmp_path / "out.mp4", frames=3)
    assert video.size == (96, 64)
    lying, upright = contents(clip)[2][0], contents(tmp_path / "out.mp4")[2][0]
    clockwise = lying.transpose(1, 0, 2)[:, ::-1]  # what was the left column is the top row
    assert np.abs(upright.astype(float) - clockwise / 2).mean() < 4


def test_what_is_no_video_leaves_nothing(half: Deblurrer, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(clip.read_bytes()[:300])
    for source in ("bad.mp4", "none.mp4"):
        with pytest.raises(ImageError, match=source):
            run_video(tmp_path / source, half, tmp_path / "out.mp4")
    for name in ("out.gif", "out.webm"):  # WebM holds no H.264
        with pytest.raises(OutputError, match="cannot tell the format"):
            run_video(clip, half, tmp_path / name)
    with pytest.raises(BadInputError):
        run_video(clip, half, tmp_path / "out.mp4", every=0)
    with pytest.raises(ImageError, match="pixels allowed"):
        run_video(clip, half, tmp_path / "out.mp4", max_pixels=100)
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == ["bad.mp4", "clip.mp4"]


def test_a_source_that_ends_early_is_incomplete(half: Deblurrer, clip: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole.mkv"
    assert not run_video(clip, half, whole).incomplete
    assert not run_video(whole, half, tmp_path / "again.mkv").incomplete
    assert not run_video(whole, half, tmp_path / "some.mkv", every=3, frames=2).incomplete
    (tmp_path / "cut.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    video = run_video(tmp_path / "cut.mkv", half, tmp_path / "out.mkv")
    assert video.incomplete and 0 < video.frames < FRAMES - 4 and abs(video.expected - FRAMES) <= 2
