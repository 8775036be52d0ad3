"""The sample photographs are there, small, readable and licensed."""

from __future__ import annotations

import pytest
from fdikp_edge.runtime.errors import UnknownNameError
from fdikp_edge.runtime.images import read_photo
from fdikp_edge.runtime.samples import sample_names, sample_photo


@pytest.mark.parametrize("name", sample_names())
def test_samples(name: str) -> None:
    path = sample_photo(name)
    assert path.stat().st_size < 300_000
    assert min(read_photo(path).pixels.shape[:2]) >= 256
    licence = (path.parent / "LICENSE.txt").read_text()
    assert path.name in licence
    assert "CC0 1.0 Universal" in licence


def test_an_unknown_sample_lists_those_there_are() -> None:
    with pytest.raises(UnknownNameError, match="coffee, chelsea"):
        sample_photo("lena")
