"""The size of tiles that was measured to be fastest is chosen, with the halo taken into account."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.batch import deblur_files
from fdikp_edge.runtime.buckets import fastest
from fdikp_edge.runtime.buckets.buckets import AUTO_HALO, Buckets, Measured
from fdikp_edge.runtime.buckets.opened import OpenBuckets
from fdikp_edge.runtime.images import Photo, write_photo
from fdikp_edge.runtime.sessions import available_threads


@pytest.fixture
def sizes(make_artifact: Callable[..., Artifact]) -> Buckets:
    artifacts = tuple(make_artifact("half", size=(side, side)) for side in (64, 128, 256))
    return Buckets(artifacts[0].path.parent, artifacts)


def test_the_least_time_for_the_photo_wins(sizes: Buckets) -> None:
    small, middle, large = (artifact.path for artifact in sizes.artifacts)
    measured = Measured({small: 1.0, middle: 5.0, large: 40.0})
    assert sizes.for_photo(1000, 1000, None, measured).path == small
    # The halo eats most of a small tile, and a size that was not measured is never chosen.
    assert sizes.for_photo(1000, 1000, 28, measured).path == middle
    assert sizes.for_photo(1000, 1000, None, Measured({large: 30.0})).path == large


def test_the_halo_is_capped_unless_asked_for() -> None:
    assert Measured.halo((512, 512), None) == AUTO_HALO
    assert Measured.halo((64, 64), None) == 8
    assert Measured.halo((512, 512), 40) == 40


def test_each_size_that_takes_the_halo_is_timed(sizes: Buckets) -> None:
    with OpenBuckets(sizes, threads=1) as opened:
        assert len(fastest.measure(opened, 8).milliseconds) == 3
        times = fastest.measure(opened, 40).milliseconds
        assert sizes.artifacts[0].path not in times and len(times) == 2
        assert all(time > 0 for time in times.values())


def test_sessions_are_those_asked_for_or_measured(sizes: Buckets, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fastest.jobs_for(sizes, None, None, "passport") == 1
    assert fastest.jobs_for(sizes, 3, None, "auto") == 3
    assert fastest.jobs_for(sizes, None, 1, "auto") == 1, "threads were given"
    for processors, most in ((1, 1), (3, 3), (64, fastest.MAX_SESSIONS)):
        monkeypatch.setattr(fastest, "available_threads", lambda count=processors: count)
        assert fastest.jobs_for(sizes, None, None, "auto") in {1, most}
        for choice in (1, most):
            monkeypatch.setattr(
                fastest, "_milliseconds", lambda opened, wanted=choice: 1.0 + (len(opened) != wanted)
            )
            assert fastest.jobs_for(sizes, None, None, "auto") == choice
        monkeypatch.undo()


def test_a_photo_of_few_tiles_has_one_session(sizes: Buckets) -> None:
    first = sizes.artifacts[0]
    with OpenBuckets(sizes, jobs=3) as opened:
        assert len(opened.sessions(first, 2)) == 1
        assert opened.describe()["threads"] == available_threads() and "sessions" not in opened.describe()
        three = opened.sessions(first, 3)
        assert len(set(three)) == 3 and opened.sessions(first, 50) == three
        assert opened.describe()["sessions"] == 3
        assert three[0].threads == max(1, available_threads() // 3)


def test_auto_runs_the_size_that_measuring_chose(
    sizes: Buckets, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = tmp_path / "a.png"
    write_photo(photo, Photo(np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)))
    paths = [artifact.path for artifact in sizes.artifacts]
    for chosen in paths:
        times = {path: 1e-3 if path == chosen else 1e6 for path in paths}
        monkeypatch.setattr("fdikp_edge.runtime.batch.measure", lambda *_, times=times: Measured(times))
        with OpenBuckets(sizes, threads=1) as opened:
            (result,) = deblur_files([photo], opened, tmp_path / chosen.name, tile="auto")
        assert result.error is None and result.bucket == chosen.name
