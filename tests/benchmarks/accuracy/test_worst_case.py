"""The search finds what no photo shows, keeps it as a file, and tries that first the next time."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fdikp_edge.benchmarks.accuracy.budgets import budget_for
from fdikp_edge.benchmarks.accuracy.hard_cases import hard_cases
from fdikp_edge.benchmarks.accuracy.parity import verify
from fdikp_edge.benchmarks.accuracy.worst_case import default_file, find_worst
from fdikp_edge.runtime.errors import ImageError
from fdikp_edge.runtime.images import read_photo, write_photo
from fdikp_edge.runtime.photo import Photo
from fdikp_edge.runtime.sessions import open_session
from hypothesis import given
from hypothesis import strategies as st
from torch import nn


class Clipped(nn.Module):
    """Right but for the contrast between neighbours, of which it holds only so much."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit

    def forward(self, x: Any) -> Any:
        step = x - x.roll(1, -1)
        return x.roll(1, -1) + step.clamp(-self.limit, self.limit)


@pytest.fixture(scope="module")
def clipped(make_artifact: Callable[..., Any]) -> Any:
    return make_artifact(Clipped(0.9).eval())


def identity(x: Any, arithmetic: str = "float32") -> Any:
    return x.astype(arithmetic)


def test_a_fault_that_photos_do_not_show_is_found_and_kept(clipped: Any, tmp_path: Path) -> None:
    file = tmp_path / "worst.png"
    with open_session(clipped, threads=1) as session:
        plain = verify(session, identity)
        result = find_worst(session, identity, file=file, evaluations=60)
        again = find_worst(session, identity, file=file, evaluations=1)
        with_it = verify(session, identity, [result.photo])
    assert plain.within_budget and plain.max_abs == pytest.approx(result.photos_max_abs)
    assert result.worst.max_abs > 0.09 > 100 * result.photos_max_abs
    assert result.tried <= 60 and result.file == file
    # The file holds exactly what was run.
    np.testing.assert_array_equal(read_photo(file).pixels, result.worst.pixels)
    assert again.worst.name == "kept from an earlier run" and again.worst.max_abs == result.worst.max_abs
    assert not with_it.within_budget and with_it.worst_photo == "worst.png"


def test_a_worse_one_takes_the_place_of_the_kept(clipped: Any, tmp_path: Path) -> None:
    file = tmp_path / "worst.png"
    write_photo(file, Photo(np.full((32, 48, 3), 7, np.uint8)))
    with open_session(clipped, threads=1) as session:
        result = find_worst(session, identity, file=file, evaluations=40)
    assert result.worst.name != "kept from an earlier run"
    np.testing.assert_array_equal(read_photo(file).pixels, result.worst.pixels)


@pytest.mark.parametrize("gain", [1.0, 0.25])
def test_it_is_told_how_much_the_network_itself_enlarges(clipped: Any, gain: float) -> None:
    with open_session(clipped, threads=1) as session:
        result = find_worst(session, lambda x: gain * x, evaluations=1)
    # Uniform noise of one step has a variance of 1 / 12.
    expected = 20 * math.log10(255 * math.sqrt(12) / gain)
    assert result.own_psnr_db == pytest.approx(expected, abs=0.1)
    assert result.to_dict()["own_psnr_db"] == result.own_psnr_db


def test_the_search_goes_beyond_the_hard_cases(make_artifact: Callable[..., Any], blend: Any) -> None:
    with open_session(make_artifact(blend(gain=1.001)), threads=1) as session:
        reference = blend()

        def right(x: Any, arithmetic: str = "float32") -> Any:
            import torch

            with torch.no_grad():
                return reference(torch.from_numpy(x)).numpy().astype(arithmetic)

        few = find_worst(session, right, evaluations=38)
        many = find_worst(session, right, evaluations=110)
    assert many.worst.spent >= few.worst.spent >= budget_for("fp32").spent(few.photos_max_abs, 200.0)
    assert many.tried > few.tried


def test_a_result_that_is_not_finite_is_the_worst(make_artifact: Callable[..., Any], tmp_path: Path) -> None:
    class Breaks(nn.Module):
        def forward(self, x: Any) -> Any:
            return x / (1 - x.amax((1, 2, 3), keepdim=True))

    with open_session(make_artifact(Breaks().eval()), threads=1) as session:
        result = find_worst(session, identity, [Photo(np.full((32, 48, 3), 9, np.uint8))])
    assert math.isinf(result.worst.max_abs)
    assert result.to_dict()["max_abs"] is None and result.to_dict()["finite"] is False


def test_a_kept_file_of_another_size_is_refused(clipped: Any, tmp_path: Path) -> None:
    file = tmp_path / "worst.png"
    write_photo(file, Photo(np.zeros((16, 16, 3), np.uint8)))
    with open_session(clipped, threads=1) as session, pytest.raises(ImageError, match="size differs"):
        find_worst(session, identity, file=file)


def test_worst_cases_lie_beside_the_artifact_or_in_a_folder() -> None:
    assert default_file(Path("build/a")) == Path("build/a.worst.png")
    assert default_file(Path("build/a"), Path("cases")) == Path("cases/a.worst.png")


@given(
    height=st.integers(4, 40),
    width=st.integers(4, 40),
    photo=st.tuples(st.integers(2, 50), st.integers(2, 50)),
)
def test_hard_cases_fit_any_size(height: int, width: int, photo: tuple[int, int]) -> None:
    names = set()
    for name, pixels in hard_cases((height, width), [np.zeros((*photo, 3), np.uint8)]):
        assert pixels.shape == (height, width, 3) and pixels.dtype == np.uint8
        names.add(name)
    assert len(names) == 12 + 8 + 2 + 2 + 4 + 4 + 2


def test_gratings_are_at_the_nyquist_frequency() -> None:
    cases = dict(hard_cases((16, 16)))
    spectrum = np.abs(np.fft.fft(cases["columns of period 2"][0, :, 0].astype(float)))
    assert spectrum[1:].argmax() + 1 == 8
    assert set(np.unique(cases["checkerboard"])) == {0, 255}
