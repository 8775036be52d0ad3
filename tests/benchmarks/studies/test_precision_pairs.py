"""Precision on pairs, with networks whose loss is known."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fdikp_edge.benchmarks.studies import precision_pairs
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.errors import BadInputError
from fdikp_edge.runtime.images import write_photo
from fdikp_edge.runtime.photo import Photo
from fdikp_edge.runtime.samples.pairs import find_pairs
from torch import nn


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders of one and two pairs: the sharp photo is half as bright as the blurred one."""
    root = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(0)
    for folder, name in (("near", "a"), ("far", "b"), ("far", "c")):
        pixels = rng.integers(40, 120, (60, 70, 3), dtype=np.uint8)
        for kind, shown in (("blur", pixels), ("sharp", pixels // 2)):
            (root / folder / kind).mkdir(parents=True, exist_ok=True)
            write_photo(root / folder / kind / f"{name}.png", Photo(shown))
    return root


def test_parity_and_what_is_lost_follow_from_the_difference(
    pairs: Path, blend: Callable[..., nn.Module], make_artifact: Callable[..., Artifact], reference: Any
) -> None:
    brighter = make_artifact(blend(bias=0.01))
    exact = make_artifact(blend())
    told: list[str] = []
    table = precision_pairs.measure(
        [exact, brighter], find_pairs(pairs), lambda artifact: reference, threads=1, note=told.append
    )
    same, other = table["artifacts"]
    assert table["pairs"] == 3 and len(told) == 2
    assert same["parity_db"]["worst"] > 100 and abs(same["lost_db"]["worst"]) < 1e-3
    # A difference of 0.01 everywhere is 40 dB; all of it lies at frequency 0.
    assert other["parity_db"]["worst"] == pytest.approx(40, abs=0.01)
    assert not other["within_budget"]
    first, *others = other["bands"]
    assert max(band["parity_db"] for band in others) < -90 < first["parity_db"]
    for photo in other["photos"]:
        # Eager is too bright already, by e; 20 log10((e + 0.01) / e) is lost, about.
        error = 10 ** (-photo["eager_psnr_db"] / 20)
        assert 0 < photo["lost_db"] <= 20 * math.log10((error + 0.01) / error) + 1e-6
    assert {name: entry["n"] for name, entry in other["folders"].items()} == {"far": 2, "near": 1}
    assert json.loads(json.dumps(table, allow_nan=False)) == table
    assert "OVER BUDGET" in precision_pairs.show(table)


def test_partners_of_other_sizes_are_refused(
    tmp_path: Path, blend: Callable[..., nn.Module], make_artifact: Callable[..., Artifact], reference: Any
) -> None:
    for kind, size in (("blur", (60, 70)), ("sharp", (60, 80))):
        (tmp_path / kind).mkdir()
        write_photo(tmp_path / kind / "a.png", Photo(np.full((*size, 3), 90, np.uint8)))
    with pytest.raises(BadInputError, match="not of the size of its partner"):
        precision_pairs.measure(
            [make_artifact(blend())], find_pairs(tmp_path), lambda artifact: reference, note=lambda text: None
        )
