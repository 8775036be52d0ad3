"""The networks of examples/networks: each is found, computes what its docstring says, and is lowered."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fdikp_edge.export import lower
from fdikp_edge.models.sources import NetworkSource, Sample, TensorSpec, photo_crops
from fdikp_edge.models.sources.find import find
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "examples" / "networks").glob("*.py"))
SIZE = (64, 96)


def loaded(name: str) -> NetworkSource:
    return find(str(ROOT / "examples" / "networks" / f"{name}.py"))


def given(source: NetworkSource) -> tuple[tuple[TensorSpec, ...], list[Sample]]:
    """Return the inputs at a size and the samples: the source's own, or pieces of photos."""
    specs = source.at(SIZE)
    if source.samples is not None:
        return specs, list(source.samples(specs))
    return specs, [Sample("photo", {specs[0].name: crop}) for crop in photo_crops(specs[0], 3)]


def answer(source: NetworkSource, sample: Sample) -> Any:
    with torch.no_grad():
        result: Tensor = source.load()(*tensors(source, sample))
    return result.numpy()


def tensors(source: NetworkSource, sample: Sample) -> list[Tensor]:
    return [torch.from_numpy(sample.arrays[spec.name]) for spec in source.inputs]


def test_there_are_six() -> None:
    assert len(FILES) == 6


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_docstring_has_the_command_and_the_size_where_one_is_needed(file: Path) -> None:
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    assert f"fdikp-edge deploy --model examples/networks/{file.name}" in text and "initial ones" in text
    needs_size = any(None in spec.shape for spec in loaded(file.stem).inputs)
    assert ("--size 128x128" in text) is needs_size


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_results_are_sane_and_lowered(file: Path) -> None:
    source = loaded(file.stem)
    _, samples = given(source)
    assert len({sample.name for sample in samples}) == len(samples) or source.samples is None
    for sample in samples[:4]:
        first, result = sample.arrays[source.inputs[0].name], answer(source, sample)
        reach = float(first.max() - first.min())
        assert np.isfinite(result).all()
        assert result.min() > first.min() - reach / 2 and result.max() < first.max() + reach / 2
        assert result.std() > first.std() / 2, "the result has lost what went in"
    lowered = lower(source.load(), tuple(tensors(source, samples[-1])))
    result_: Tensor = lowered.program.module()(*tensors(source, samples[0]))
    expected = answer(source, samples[0])
    assert np.abs(result_.detach().numpy() - expected).max() < 2e-5 * np.abs(expected).max()


def mse(a: Any, b: Any) -> float:
    return float(np.square(a - b, dtype=np.float64).mean())


def test_the_deconvolver_takes_blur_off() -> None:
    source = loaded("deconvolve")
    specs, samples = given(source)
    for sharp, sample in zip(photo_crops(specs[0], 12), samples, strict=True):
        assert mse(answer(source, sample), sharp) < 0.9 * mse(sample.arrays["blurred"], sharp), sample.name


def test_the_restorer_takes_strong_noise_off() -> None:
    source = loaded("restore_with_noise_map")
    specs, samples = given(source)
    clean, noisiest = photo_crops(specs[0], 12)[-1], samples[-1]
    right = np.s_[..., SIZE[1] // 2 :]  # where the noise is strong
    assert mse(answer(source, noisiest)[right], clean[right]) < 0.5 * mse(
        noisiest.arrays["picture"][right], clean[right]
    )


def test_the_upscaler_keeps_the_picture() -> None:
    source = loaded("upscale")
    _, samples = given(source)
    large = answer(source, samples[0])
    assert source.scale == 2 and large.shape == (1, 3, 2 * SIZE[0], 2 * SIZE[1])
    small = large.reshape(1, 3, SIZE[0], 2, SIZE[1], 2).mean((3, 5))
    assert mse(small, samples[0].arrays["small"]) < 0.1 * samples[0].arrays["small"].var()


def test_the_enhancer_brings_its_measure() -> None:
    source = loaded("enhance_audio")
    _, samples = given(source)
    sound = samples[0].arrays["sound"]
    assert source.metric is not None
    assert source.metric(sound, sound) == {"snr_db": 200.0}
    assert source.metric(sound, sound * 0.9)["snr_db"] == pytest.approx(20.0, abs=1e-3)
    assert 10 < source.metric(sound, answer(source, samples[0]))["snr_db"] < 60


def test_a_copy_elsewhere_works_alone(tmp_path: Path) -> None:
    """Users copy these files; they may lean on the package and on nothing beside them."""
    copy = tmp_path / "mine.py"
    copy.write_text(
        (ROOT / "examples" / "networks" / "restore_with_noise_map.py").read_text(encoding="utf-8")
    )
    script = (
        "from fdikp_edge.models.sources.find import find; s = find('mine.py'); print(s.name, len(s.inputs))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "restore-with-noise-map 2\n", done.stderr
