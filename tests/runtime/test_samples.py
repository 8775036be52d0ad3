"""The sample photographs are there, small, readable and licensed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from fdikp_edge.calibration import photos
from fdikp_edge.models.training.apertures import Aperture
from fdikp_edge.models.training.camera import Camera, add_noise, develop, through_jpeg, to_linear
from fdikp_edge.models.training.defocus import blur_by_map
from fdikp_edge.runtime.errors import UnknownNameError
from fdikp_edge.runtime.images import read_photo
from fdikp_edge.runtime.pixels import psnr_db
from fdikp_edge.runtime.samples import defocused_photo, sample_names, sample_photo


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


def put_out_of_focus(picture: torch.Tensor) -> torch.Tensor:
    """How the sample was made of the sharp photograph, both float [3, H, W] in [0, 1]; JPEG apart."""
    camera = Camera(shot=1e-4, read=1e-3)
    radius = torch.linspace(2.0, 3.5, picture.shape[2]).expand(picture.shape[1:])
    light = blur_by_map(to_linear(picture), radius, Aperture())
    noisy = add_noise(light, camera, torch.Generator().manual_seed(1))
    return through_jpeg(develop(noisy, camera), None)


def test_the_defocused_sample_is_the_sharp_one_through_the_lens_model() -> None:
    sharp = read_photo(Path(photos.__file__).with_name("astronaut.jpg")).pixels
    blurred = put_out_of_focus(torch.from_numpy(sharp.astype(np.float32) / 255).permute(2, 0, 1))
    shipped = read_photo(defocused_photo()).pixels / np.float32(255)
    assert psnr_db(blurred.permute(1, 2, 0).numpy(), shipped) > 41  # JPEG at 92 is what is between them
    assert psnr_db(sharp / np.float32(255), shipped) < 27
    assert defocused_photo().name in sample_photo().with_name("LICENSE.txt").read_text()
