"""The networks of examples/networks through ``deploy``: every precision, each target for some of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fdikp_edge.benchmarks.deploy import deploy
from fdikp_edge.export import targets
from fdikp_edge.models.sources.find import find
from fdikp_edge.runtime.images import write_photo
from fdikp_edge.runtime.photo import Photo

FOLDER = Path(__file__).resolve().parent.parent / "examples" / "networks"
PRECISIONS = ("fp32", "fp16", "int8")
EVERYWHERE = ("onnx:weights=7bit", "openvino:weights=7bit")
"""Processors without VNNI saturate 8-bit weights; 7 bits are right on all."""
NETWORKS = {
    "denoise_grey": (),
    "upscale": ("tensorrt-rtx",),
    "restore_with_noise_map": ("coreml",),
    "deconvolve": (),
    "field_operator": (),
    "enhance_audio": (),
}
"""The other targets that each is built for; their builds take seconds, so not all for all."""


def test_no_example_is_left_out() -> None:
    assert sorted(NETWORKS) == sorted(file.stem for file in FOLDER.glob("*.py"))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_artifact_is_within_its_budget(name: str, tmp_path: Path) -> None:
    source = find(str(FOLDER / f"{name}.py"))
    others = [target for target in NETWORKS[name] if targets.capability(targets.get_target(target)).can_build]
    photo = None
    if source.takes_photos:  # one tile, so that the interpreter of Core ML has little to do
        photo = tmp_path / "photo.png"
        pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        write_photo(photo, Photo(np.kron(pixels, np.ones((8, 8, 1), np.uint8))))
    report = deploy(
        source,
        tmp_path / "out",
        targets=[*EVERYWHERE, *others],
        precisions=PRECISIONS,
        size=(32, 48),
        photo=photo,
        threads=1,
        min_samples=3,
        max_seconds=1.0,
    )
    rows = {(row.target, row.precision): row for row in report.rows}
    assert set(rows) == {(target, p) for target in ("onnx", "openvino", *others) for p in PRECISIONS}
    for (target, precision), row in rows.items():
        expected = (
            "unverified" if target == "tensorrt-rtx" and row.reason_code == "cannot_run" else "verified"
        )
        assert row.state == expected, f"{target} {precision}: {row.reason}"
        assert row.parity is not None and row.parity.within_budget, f"{target} {precision}: {row.reason}"
        assert "noise" not in row.reason, "verified on samples of the network's own kind"
        assert (row.picture is not None) == source.takes_photos
