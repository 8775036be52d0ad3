"""A bundle under qemu on aarch64; see aarch64.py, which also says what it downloads."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import aarch64

FOLDER = os.environ.get("FDIKP_EDGE_AARCH64", "")


@pytest.mark.skipif(not FOLDER, reason="FDIKP_EDGE_AARCH64 names no folder for an arm64 userland (150 MB)")
def test_every_command_of_a_bundle_runs_on_aarch64(small_bundle: Path, tmp_path: Path) -> None:
    pil = pytest.importorskip("PIL.Image", reason="reads the result back")
    try:
        userland = aarch64.prepare(Path(FOLDER))
    except aarch64.UnavailableError as error:
        pytest.skip(f"no arm64 userland here: {error}")
    machine = userland.python("-c", "import platform; print(platform.machine())", cwd=tmp_path)
    assert machine.stdout.strip() == "aarch64", machine.stderr
    answers = aarch64.run_bundle(userland, small_bundle, tmp_path)
    assert answers["info"]["missing_for_build"], "there is no TensorRT"
    fp32, int8 = answers["verify"]["artifacts"]
    assert (fp32["state"], int8["state"]) == ("verified", "verified")
    assert fp32["parity"]["max_abs"] == 0 and 0 < int8["parity"]["max_abs"] < 0.01
    assert all(row["latency_ms"]["n"] >= 5 for row in answers["bench"]["artifacts"])
    profiles = [row["profile"] for row in answers["profile"]["artifacts"]]
    assert [profile["power"]["total"]["mean_mw"] for profile in profiles] == [9000, 9000]
    with pil.open(tmp_path / "sharp.png") as image:
        sharp = np.asarray(image)
    from fdikp_edge.runtime.device.bundle import Bundle

    # Halved and rounded, whatever the processor; computed here with NumPy alone.
    photo = Bundle.open(small_bundle, tmp_path / "here").photo().pixels
    assert np.abs(sharp.astype(int) - np.rint(photo / 2).astype(int)).max() <= 1


def test_without_debian_it_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(aarch64.UnavailableError, match="apt-get is not here"):
        aarch64.prepare(tmp_path)
