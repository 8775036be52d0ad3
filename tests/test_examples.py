"""Every file of examples/ is run as its docstring says, and its result held against something else."""

from __future__ import annotations

import ast
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.samples import sample_photo
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
FILES = sorted(path.name for path in EXAMPLES.glob("*.py"))


def run(name: str, *args: object) -> None:
    """Run an example as a program, in this process: PyTorch is then loaded once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [name, *map(str, args)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")


@pytest.fixture(scope="module")
def wiener(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifact that export_and_verify.py writes."""
    folder = tmp_path_factory.mktemp("examples") / "wiener"
    run("export_and_verify.py", folder)
    return folder


def test_every_example_is_run_here() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert FILES and set(FILES) == set(re.findall(r'run\("(\w+\.py)"', source))


@pytest.mark.parametrize("name", FILES)
def test_docstring_says_how_to_run_it(name: str) -> None:
    text = ast.get_docstring(ast.parse((EXAMPLES / name).read_text(encoding="utf-8")))
    assert text is not None and f"python examples/{name}" in text and "pip install" in text


def test_lower_any_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import onnx

    file = tmp_path / "operator.onnx"
    run("lower_any_network.py", file)
    model = onnx.load(file)
    kinds = {node.op_type for node in model.graph.node}
    assert "MatMul" in kinds and not kinds & {"DFT", "STFT"}
    assert "4 transform sites" in capsys.readouterr().out


def test_export_and_verify(wiener: Path) -> None:
    passport = Artifact.open(wiener).passport
    assert (passport.model, passport.target, passport.precision) == ("wiener", "onnx", "fp32")
    assert passport.state == "verified" and passport.parity is not None


def test_export_does_not_replace_a_folder(wiener: Path) -> None:
    with pytest.raises(SystemExit, match="exists already"):
        run("export_and_verify.py", wiener)


def test_deblur_photo(wiener: Path, tmp_path: Path) -> None:
    sharp = np.asarray(Image.open(sample_photo("coffee")).convert("RGB"), dtype=np.float64)
    rows, columns = (np.fft.fftfreq(length, d=1 / length) for length in sharp.shape[:2])
    disc = (np.hypot(rows[:, None], columns[None, :]) <= 2.5).astype(float)
    spectrum = np.fft.fft2(sharp, axes=(0, 1)) * np.fft.fft2(disc / disc.sum())[..., None]
    blurred = np.fft.ifft2(spectrum, axes=(0, 1)).real.round().clip(0, 255)
    Image.fromarray(blurred.astype(np.uint8)).save(tmp_path / "blurred.png")

    run("deblur_photo.py", wiener, tmp_path / "blurred.png", tmp_path / "result.png")
    result = np.asarray(Image.open(tmp_path / "result.png"), dtype=np.float64)

    inside = np.s_[16:-16, 16:-16]  # beyond the photo's edge the blur wrapped around
    before, after = (float(np.square(image - sharp)[inside].mean()) for image in (blurred, result))
    assert after < before / 2, f"mean square error {before:.1f} before, {after:.1f} after"


def test_deblur_photo_says_how_it_is_called() -> None:
    with pytest.raises(SystemExit, match=r"usage: .*ARTIFACT PHOTO RESULT"):
        run("deblur_photo.py")


def test_deblur_photo_refuses_a_folder_that_is_no_artifact(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"error: .*nothing-here"):
        run("deblur_photo.py", tmp_path / "nothing-here", "photo.jpg", "result.png")
