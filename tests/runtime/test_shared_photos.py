"""Real defocused photographs, where they are at hand, through a batch on both runtimes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.deblur import deblur_files
from fdikp_edge.runtime.images import read_photo

DATA = Path(__file__).parents[3] / "shared" / "data"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="no shared/data beside the checkout")


@pytest.mark.parametrize(
    ("target", "folder"),
    [
        ("onnx", "unpaired"),
        ("openvino", "unpaired"),
        ("onnx", "pairs/focus_stack_pcb"),
        ("openvino", "pairs/d3net_indoor/blur"),
    ],
)
def test_every_photo_passes_through(
    make_artifact: Callable[..., Artifact], tmp_path: Path, target: str, folder: str
) -> None:
    artifact = make_artifact(target=target, size=(512, 512))
    results = deblur_files([DATA / folder], artifact, tmp_path / "out", recursive=True, suffix=".png")
    assert results
    for result in results:
        assert result.error is None
        assert not result.notes
    for result in results[:3]:
        assert np.array_equal(read_photo(result.output).pixels, read_photo(result.source).pixels)
