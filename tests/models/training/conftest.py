from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three made-up "photographs", large enough to be reduced and cropped: shapes with texture."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(3):
        random = np.random.default_rng(number)
        coarse = random.integers(40, 216, (24, 24, 3), dtype=np.uint8)
        shapes = np.asarray(Image.fromarray(coarse).resize((720, 720), Image.Resampling.NEAREST), np.int16)
        texture = random.normal(0, 12, (720, 720, 1))
        picture = np.clip(shapes + texture, 0, 255).astype(np.uint8)
        Image.fromarray(picture).save(folder / f"{number}.png")
    return folder
