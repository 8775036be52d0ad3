import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fdikp_edge.benchmarks.accuracy.metrics import ssim
from fdikp_edge.models import classical
from fdikp_edge.models.evaluate import evaluate, find_pairs, lpips, summary
from fdikp_edge.models.training.apertures import Aperture, psf
from fdikp_edge.models.training.defocus import blur
from fdikp_edge.runtime.errors import BadInputError, FdikpEdgeError
from fdikp_edge.runtime.images import read_photo
from fdikp_edge.runtime.photo import Array
from fdikp_edge.runtime.pixels import psnr_db
from fdikp_edge.runtime.samples import sample_photo
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio


def defocused(picture: Array, radius: float) -> Array:
    planes = torch.from_numpy(picture).permute(2, 0, 1)
    return blur(planes, [psf(radius, Aperture())])[0].permute(1, 2, 0).clamp(0, 1).numpy()


@pytest.fixture(scope="module")
def picture() -> Array:
    photo = read_photo(sample_photo("chelsea"))
    return photo.pixels[60:220, 100:260].astype(np.float32) / 255


@pytest.fixture(scope="module")
def pairs_folder(picture: Array, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pairs")
    for name, blurred in (("blur", defocused(picture, 2.0)), ("sharp", picture)):
        (root / "cats" / name).mkdir(parents=True)
        Image.fromarray((blurred * 255).round().astype(np.uint8)).save(root / "cats" / name / "one.png")
    return root


def test_a_distance_is_reported_beside_the_other_scores(pairs_folder: Path) -> None:
    def largest(output: Array, expected: Array) -> float:
        return float(np.abs(output - expected).max())

    rows = list(
        evaluate(find_pairs(pairs_folder), {"sharp": lambda _, sharp: (sharp, {})}, perceptual=largest)
    )
    as_is, perfect = summary(rows)
    assert perfect["lpips"] == 0.0 < as_is["lpips"] <= 1.0


@pytest.mark.parametrize(
    "problem", [ImportError("no torchvision"), RuntimeError("operator\nmissing"), OSError("x")]
)
def test_lpips_that_cannot_run_says_why(monkeypatch: pytest.MonkeyPatch, problem: Exception) -> None:
    def broken(**_: object) -> None:
        raise problem

    monkeypatch.setitem(sys.modules, "lpips", SimpleNamespace(LPIPS=broken))
    with pytest.raises(FdikpEdgeError, match=r"LPIPS cannot run: .*torch hub's cache") as caught:
        lpips()
    assert " ".join(str(problem).split()) in str(caught.value)


@pytest.mark.parametrize("method", [classical.wiener, classical.richardson_lucy])
def test_classical_methods_find_the_radius_and_sharpen(picture: Array, method: object) -> None:
    blurred = defocused(picture, 2.0)
    restored, how = method(blurred, picture)  # type: ignore[operator]
    assert how["radius"] == 2.0 and restored.shape == picture.shape
    assert psnr_db(restored, picture) > psnr_db(blurred, picture) + 1.0


def test_scores_are_those_of_another_implementation(pairs_folder: Path, picture: Array) -> None:
    pairs = find_pairs(pairs_folder)
    halved = {"half": lambda blurred, sharp: ((blurred + sharp) / 2, {"radius": 2.0})}
    (row,) = evaluate(pairs, halved)
    blurred, sharp = (read_photo(p).pixels / 255 for p in (pairs[0].blurred, pairs[0].sharp))
    other = peak_signal_noise_ratio(sharp, blurred, data_range=1.0)
    assert row["scores"]["input"]["psnr_db"] == pytest.approx(other, abs=1e-3)
    assert row["scores"]["input"]["ssim"] == pytest.approx(ssim(blurred, sharp), abs=2e-3)
    assert row["scores"]["half"]["psnr_db"] == pytest.approx(
        row["scores"]["input"]["psnr_db"] + 6.0206, abs=1e-3
    )
    (first, second) = summary([row])
    assert (first["method"], first["gain_db"], first["n"]) == ("input", 0.0, 1)
    assert second["gain_db"] == pytest.approx(6.0206, abs=1e-3) and second["folder"] == "cats"


def test_the_program_prints_json_and_writes_crops(pairs_folder: Path, tmp_path: Path) -> None:
    program = [sys.executable, "-m", "fdikp_edge.models.evaluate", "--pairs", str(pairs_folder)]
    done = subprocess.run(
        [*program, "--model", "tiny", "--no-classical", "--json", "--crops", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [row["method"] for row in result["means"]] == ["input", "tiny"]
    assert 15 < result["means"][1]["psnr_db"] < 60
    (strip,) = tmp_path.iterdir()
    assert Image.open(strip).size == (160 * 3 + 2 * 4, 160)


def test_what_is_no_folder_of_pairs_is_refused(tmp_path: Path, pairs_folder: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(BadInputError, match="no folders 'blur' and 'sharp'"):
            find_pairs(folder)
    (tmp_path / "blur").mkdir()
    (tmp_path / "blur" / "alone.png").write_bytes(b"")
    with pytest.raises(BadInputError, match=r"expected one file alone\.\*"):
        find_pairs(tmp_path)


def test_partners_of_different_size_are_refused(tmp_path: Path) -> None:
    for name, side in (("blur", 32), ("sharp", 40)):
        (tmp_path / name).mkdir()
        Image.new("RGB", (side, side)).save(tmp_path / name / "a.png")
    with pytest.raises(BadInputError, match="its partner"):
        list(evaluate(find_pairs(tmp_path), {}))
