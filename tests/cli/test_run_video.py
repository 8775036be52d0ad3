"""What is shown while a video runs: frames per second of the last seconds, and the time left."""

from __future__ import annotations

import pytest
from fdikp_edge.cli.commands.run import video
from fdikp_edge.runtime.video.video import Video


def test_frames_per_second_of_the_last_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 100.0
    monkeypatch.setattr(video.time, "monotonic", lambda: clock)
    monkeypatch.setattr(video.sys.stderr, "isatty", lambda: True)
    lines: list[tuple[int, int, str]] = []
    tell = video.told(lambda *given: lines.append(given))
    now = Video(expected=70)
    for _ in range(20):  # two frames a second
        clock += 0.5
        now.frames += 1
        tell(now)
    assert len(lines) == 20 and lines[-1] == (20, 70, "2.0 frames/s, 0:25 left")
    for _ in range(45):  # and then ten
        clock += 0.1
        now.frames += 1
        tell(now)
    assert len(lines) < 50, "not after every frame"
    done, _, text = lines[-1]
    assert done > 60 and float(text.split()[0]) > 8
    now.expected = 0
    clock += 1
    tell(now)
    assert "left" not in lines[-1][2]
