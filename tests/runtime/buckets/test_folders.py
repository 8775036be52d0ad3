"""What stands for artifacts: themselves, a folder of sizes, a deploy's folder; other things are named."""

from __future__ import annotations

from pathlib import Path

import pytest
from fdikp_edge.runtime.buckets.folders import artifact_folders, shown_name
from fdikp_edge.runtime.errors import ArtifactError


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A folder as `deploy` leaves it."""
    folder = tmp_path / "build"
    for name in ("tiny-onnx-fp32/64x64", "tiny-onnx-fp32/32x48", "tiny-openvino-fp32-64x64"):
        (folder / name).mkdir(parents=True)
        (folder / name / "passport.json").write_text("{}")
    (folder / "tiny-onnx-fp32" / "16x16").mkdir()  # no passport: no artifact
    for name in ("results", "errors", "older/deploy"):
        (folder / name).mkdir(parents=True)
    (folder / "older/deploy/passport.json").write_text("{}")
    return folder


def test_a_deploys_folder_stands_for_all_artifacts_and_buckets(built: Path) -> None:
    buckets = [built / "tiny-onnx-fp32/32x48", built / "tiny-onnx-fp32/64x64"]
    alone = built / "tiny-openvino-fp32-64x64"
    assert artifact_folders([built]) == ([*buckets, alone], [])
    assert artifact_folders([built / "tiny-onnx-fp32"]) == (buckets, [])
    chosen, others = artifact_folders([alone, built / "results", built / "tiny-onnx-fp32", built / "gone"])
    assert (chosen, others) == ([alone, *buckets, built / "gone"], [built / "results"])


def test_nothing_at_all_is_an_error(built: Path) -> None:
    with pytest.raises(ArtifactError, match="no artifact, and none in it"):
        artifact_folders([built / "results"])


def test_a_bucket_is_shown_with_its_folder(built: Path) -> None:
    assert shown_name(built / "tiny-onnx-fp32/64x64") == "tiny-onnx-fp32/64x64"
    assert shown_name(built / "tiny-onnx-fp32-64x64") == "tiny-onnx-fp32-64x64"
