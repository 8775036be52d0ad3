"""Parity of real artifacts, with errors of a known size planted in their weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from fdikp_edge.benchmarks.accuracy.parity import compare, verify, verify_golden
from fdikp_edge.export.contracts import Deployable
from fdikp_edge.export.reference import Reference
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.errors import CheckFailedError, ImageError
from fdikp_edge.runtime.photo import Photo
from fdikp_edge.runtime.sessions import open_session
from torch import Tensor, nn

Make = Callable[..., Artifact]


def test_a_good_artifact_is_within_its_budget(good: Artifact, reference: Reference) -> None:
    with open_session(good, threads=1) as session:
        result = verify(session, reference)
    assert result.within_budget
    assert result.problems == ()
    assert 0 < result.max_abs < 2e-6
    assert result.mean_abs <= result.max_abs
    assert result.psnr_db > 120
    assert result.ssim > 0.999999
    assert [photo.photo for photo in result.photos] == ["coffee.jpg", "chelsea.png"]
    assert result.float64 is not None
    assert 0 < result.float64["eager_max_abs"] < 2e-6
    assert result.float64["max_abs"] < 2e-6
    again = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert again["within_budget"] is True
    assert set(again["bands"][0]) == {"low", "high", "rel_error_db"}


def test_a_planted_offset_is_measured_and_fails(
    make_artifact: Make, blend: Callable[..., nn.Module], reference: Reference
) -> None:
    with open_session(make_artifact(blend(bias=1e-3)), threads=1) as session:
        result = verify(session, reference)
    assert result.max_abs == pytest.approx(1e-3, rel=1e-2)
    assert result.mean_abs == pytest.approx(1e-3, rel=1e-2)
    assert result.psnr_db == pytest.approx(60, abs=0.1)
    assert len(result.problems) == 2
    # An offset is an error at frequency zero and nowhere else.
    assert result.bands[0].rel_error_db > max(band.rel_error_db for band in result.bands[1:]) + 20


def test_the_worst_photo_counts_and_is_named(
    make_artifact: Make, blend: Callable[..., nn.Module], reference: Reference
) -> None:
    # A wrong gain shows in proportion to the light: black is right, white is not.
    black = Photo(np.zeros((32, 48, 3), np.uint8), source=Path("black.png"))
    white = Photo(np.full((32, 48, 3), 255, np.uint8), source=Path("white.png"))
    with open_session(make_artifact(blend(gain=1.001)), threads=1) as session:
        result = verify(session, reference, [white, black])
    assert result.worst_photo == "white.png"
    assert result.max_abs == pytest.approx(1.2e-3, rel=0.02)
    assert result.photos[1].max_abs < 1e-6
    assert result.psnr_db == result.photos[0].psnr_db


def test_nan_is_a_failed_check_not_a_figure(
    make_artifact: Make, blend: Callable[..., nn.Module], reference: Reference
) -> None:
    broken = blend()
    with torch.no_grad():
        broken.gain.fill_(3e38).mul_(10)  # type: ignore[operator, union-attr]
    with (
        open_session(make_artifact(broken), threads=1) as session,
        pytest.raises(CheckFailedError, match=r"4608 of 4608 results for coffee\.jpg are NaN"),
    ):
        verify(session, reference)


def test_a_network_without_a_float64_reference_is_verified_and_the_verdict_says_so(
    good: Artifact, blend: Callable[..., nn.Module]
) -> None:
    class Bits(nn.Module):
        """Does what the artifact's network does, and reads the bits of its floats on the way."""

        def __init__(self) -> None:
            super().__init__()
            self.same = blend()

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.same(x.view(torch.int32).view(torch.float32))
            return result

    with open_session(good, threads=1) as session:
        parity = verify(session, Reference(Deployable(Bits()).eval()))
    assert parity.float64 is None
    assert parity.within_budget
    state, reason = parity.verdict("a remark")
    assert state == "verified"
    assert reason.startswith("a remark; no float64 reference")


def test_bytes_are_compared_as_light(make_artifact: Make, blend: Callable[..., nn.Module]) -> None:
    own = Reference(Deployable(blend(), "uint8_nhwc").eval())
    with open_session(make_artifact(blend(), "uint8_nhwc"), threads=1) as session:
        assert verify(session, own).within_budget
    with open_session(make_artifact(blend(bias=2 / 255), "uint8_nhwc"), threads=1) as session:
        result = verify(session, own)
    assert result.max_abs == pytest.approx(2 / 255, rel=1e-6)
    assert not result.within_budget


def test_the_golden_pair_is_a_check_without_the_network(good: Artifact) -> None:
    with open_session(good, threads=1) as session:
        result = verify_golden(session)
    assert result.within_budget
    assert result.float64 is None
    assert result.worst_photo == "golden input"


def test_a_path_that_is_no_photo_is_refused(good: Artifact, reference: Reference, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no photo")
    with open_session(good, threads=1) as session, pytest.raises(ImageError, match=r"notes\.txt"):
        verify(session, reference, [tmp_path / "notes.txt"])


def test_each_photo_is_reported_as_it_starts(good: Artifact, reference: Reference) -> None:
    seen: list[tuple[int, int, str]] = []
    with open_session(good, threads=1) as session:
        verify(session, reference, progress=lambda *step: seen.append(step))
    assert seen == [(0, 2, "coffee.jpg"), (1, 2, "chelsea.png")]


def test_small_pictures_are_compared_without_ssim() -> None:
    difference = compare(np.zeros((4, 4, 3)), np.full((4, 4, 3), 0.5), "tiny")
    assert (difference.max_abs, difference.mean_abs) == (0.5, 0.5)
