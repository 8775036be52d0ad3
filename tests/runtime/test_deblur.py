"""The deblurrer on real sessions: exact where nothing changes, seamless, in bounded memory."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.deblur import Deblurrer, Progress
from fdikp_edge.runtime.errors import BadInputError, CheckFailedError
from fdikp_edge.runtime.images import Photo, read_photo
from fdikp_edge.runtime.passport import TensorContract
from fdikp_edge.runtime.samples import sample_photo
from fdikp_edge.runtime.sessions import open_session
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Maker = Callable[..., Artifact]


def noise(height: int, width: int, bits: int = 8) -> Photo:
    rng = np.random.default_rng(height * width)
    return Photo(pixels=rng.integers(0, 1 << bits, (height, width, 3)).astype(f"u{bits // 8}"))


@pytest.mark.parametrize("target", ["onnx", "openvino"])
@pytest.mark.parametrize("kind", ["float", "uint8"])
def test_an_identity_network_gives_the_photo_back_bit_for_bit(
    make_artifact: Maker, target: str, kind: str
) -> None:
    with open_session(make_artifact(target=target, kind=kind)) as session:
        deblurrer = Deblurrer(session)

        @given(st.integers(2, 90), st.integers(2, 90), st.sampled_from([8, 16]))
        @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
        def check(height: int, width: int, bits: int) -> None:
            photo = noise(height, width, bits)
            assert np.array_equal(deblurrer.photo(photo).pixels, photo.pixels)

        check()


def test_grey_alpha_and_metadata_pass_through(make_artifact: Maker) -> None:
    alpha = noise(70, 50, 16).pixels[..., 0]
    photo = dataclasses.replace(noise(70, 50, 16), alpha=alpha, icc=b"p", exif=b"e", dpi=(72.0, 72.0))
    with open_session(make_artifact("half")) as session:
        result = Deblurrer(session).photo(photo)
        assert np.abs(result.pixels - photo.pixels / 2).max() < 0.51
        for name in ("alpha", "icc", "exif", "dpi"):
            assert getattr(result, name) is getattr(photo, name)
        one = np.broadcast_to(photo.pixels[..., :1], (70, 50, 3))
        result = Deblurrer(session).photo(dataclasses.replace(photo, grey=True, pixels=one))
        assert result.grey
        assert (result.pixels == result.pixels[..., :1]).all()
        assert np.abs(result.pixels - one / 2).max() < 0.51


def test_a_uint8_network_keeps_the_fine_tones_of_a_16_bit_photo(make_artifact: Maker) -> None:
    photo = noise(60, 60, 16)
    with open_session(make_artifact("half", kind="uint8")) as session:
        result = Deblurrer(session).photo(photo).pixels.astype(int)
    seen = (photo.pixels.astype(int) + 128) // 257
    change = np.rint(seen / 2).astype(int) - seen
    assert np.array_equal(result, np.clip(photo.pixels + 257 * change, 0, 65535))


def test_other_value_ranges(make_artifact: Maker) -> None:
    wide = TensorContract(
        name="image",
        shape=(1, 3, 32, 32),
        dtype="float32",
        layout="NCHW",
        value_range=(-1, 1),
        color_space="sRGB",
    )
    artifact = make_artifact(inputs=(wide,), outputs=(dataclasses.replace(wide, name="deblurred"),))
    photo = noise(50, 80, 16)
    with open_session(artifact) as session:
        assert np.array_equal(Deblurrer(session).photo(photo).pixels, photo.pixels)


def test_enough_halo_makes_a_local_network_independent_of_the_tiles(make_artifact: Maker) -> None:
    photo = read_photo(sample_photo("chelsea"))
    with open_session(make_artifact("blur", size=(64, 64))) as session:
        small = Deblurrer(session, halo=8, border=8).photo(photo).pixels
    with open_session(make_artifact("blur", size=(512, 512))) as session:
        large = Deblurrer(session, border=8).photo(photo).pixels
    assert photo.height < 512 > photo.width, "one tile holds the photo"
    # The box reaches 2 pixels past a tile's edge; in the outer 2 of 8 the blend still has a weight of 0.1.
    assert np.abs(small.astype(int) - large).max() <= 8
    with open_session(make_artifact("blur", size=(64, 64))) as session:
        hard = Deblurrer(session, halo=0, border=8).photo(photo).pixels
    assert np.abs(hard.astype(int) - large).max() > 60


def test_seam_report_tells_a_hard_cut_from_a_blend(make_artifact: Maker) -> None:
    photo = read_photo(sample_photo("coffee"))
    with open_session(make_artifact("center", size=(128, 128))) as session:
        hard = Deblurrer(session, halo=0).seam_report(photo)
        blended = Deblurrer(session, halo=16).seam_report(photo)
        one_tile = Deblurrer(session).seam_report(noise(100, 100))
    assert hard.seams == 4 + 3
    assert hard.step_at_seams > 20 * hard.step_elsewhere
    assert blended.step_at_seams < hard.step_at_seams / 10
    assert 0 < blended.mean_abs < 1
    assert one_tile.seams == 0
    assert one_tile.max_abs == 0
    assert one_tile.to_dict()["psnr_db"] == 200
    with open_session(make_artifact(size=(128, 128))) as session:
        assert Deblurrer(session).seam_report(photo).max_abs < 1e-6


def test_a_network_that_returns_nan_is_not_written_as_black(make_artifact: Maker) -> None:
    with open_session(make_artifact("nan")) as session, pytest.raises(CheckFailedError, match="not finite"):
        Deblurrer(session).photo(noise(40, 40))


def test_sessions_that_do_not_deblur_are_refused(make_artifact: Maker) -> None:
    with open_session(make_artifact()) as session:
        with pytest.raises(BadInputError, match="halo"):
            Deblurrer(session, halo=16)
        with pytest.raises(BadInputError, match="halo"):
            Deblurrer(session, halo=-1)


def test_progress_counts_every_tile_and_may_stop_the_run(make_artifact: Maker) -> None:
    events: list[Progress] = []
    photo = noise(100, 70)
    with open_session(make_artifact()) as session:
        deblurrer = Deblurrer(session, progress=events.append)
        deblurrer.photo(photo)
        tiles = deblurrer.grid(100, 70).tiles
        assert [event.tile for event in events] == list(range(tiles + 1))
        assert {event.tiles for event in events} == {tiles}

        def stop(event: Progress) -> None:
            if event.tile == 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            Deblurrer(session, progress=stop).photo(photo)


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_tiles_on_several_sessions_give_the_same_photo(make_artifact: Maker, target: str) -> None:
    artifact, photo = make_artifact("blur", target=target), noise(300, 200, 16)
    ran: dict[int, int] = {}
    with (
        open_session(artifact, threads=1) as one,
        open_session(artifact, threads=1) as two,
        open_session(make_artifact("blur", target=target)) as other,
    ):
        alone = Deblurrer(one).photo(photo)
        for number, session in enumerate((one, two)):
            run = session.run

            def counted(x: Any, number: int = number, run: Any = run) -> Any:
                ran[number] = ran.get(number, 0) + 1
                return run(x)

            session.run = counted  # type: ignore[method-assign]
        events: list[Progress] = []
        both = Deblurrer(one, beside=[two], progress=events.append)
        assert np.array_equal(both.photo(photo).pixels, alone.pixels)
        tiles = both.grid(300, 200).tiles
        assert [event.tile for event in events] == list(range(tiles + 1))
        assert sum(ran.values()) == tiles and min(ran.values()) > tiles // 8
        with pytest.raises(BadInputError, match="one artifact"):
            Deblurrer(one, beside=[other])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_memory_does_not_grow_with_the_tiles(make_artifact: Maker, tmp_path: Path) -> None:
    """Eight megapixels: three times the photo (24 MB a copy) above what the session itself needs."""
    artifact = make_artifact("blur", size=(256, 256))
    script = f"""
import re, sys
import numpy as np
from PIL import Image
from fdikp_edge.runtime.deblur import deblur_files
from fdikp_edge.runtime.images import Photo, write_photo
from pathlib import Path
here = Path({str(tmp_path)!r})
# Not ru_maxrss: on Linux a child starts with its parent's peak, here that of the whole test run.
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024
small, large = here / "small.png", here / "large.jpg"
y, x = np.mgrid[:300, :300]
write_photo(small, Photo(pixels=np.stack([y % 256, x % 256, (x + y) % 256], 2).astype(np.uint8)))
deblur_files([small], {str(artifact.path)!r}, here / "out.png")
before = peak()
Image.new("RGB", (3464, 2310), (90, 120, 40)).save(large)
assert deblur_files([large], {str(artifact.path)!r}, here / "out.jpg")[0].error is None
print(before, peak())
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    before, after = map(float, done.stdout.split())
    assert before < 300
    assert after - before < 5 * 24
