"""spandrel's LaMa and FFTformer with random weights, read by our own reader."""

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fdikp_edge.models.sources.find import find
from fdikp_edge.runtime.errors import CheckpointError, SourceError

try:
    import spandrel
except Exception as error:  # torchvision fails by many types where it was built for another torch
    spandrel = None
    REASON = f"spandrel cannot be imported here: {type(error).__name__}"
else:
    REASON = ""

needs_spandrel = pytest.mark.skipif(spandrel is None, reason=REASON)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Weights files of both networks, small and random."""
    from spandrel.architectures.FFTformer import FFTformer
    from spandrel.architectures.LaMa import LaMa

    folder = tmp_path_factory.mktemp("spandrel")
    torch.manual_seed(0)
    networks = {
        "fftformer": FFTformer(dim=8, num_blocks=[1, 1, 1], num_refinement_blocks=1),
        "lama": LaMa(in_nc=4, out_nc=3),
    }
    for name, network in networks.items():
        torch.save({"params_ema": network.state_dict()}, folder / f"{name}.pth")
    return {name: folder / f"{name}.pth" for name in networks}


@needs_spandrel
def test_fftformer_is_a_picture_network(files: dict[str, Path]) -> None:
    source = find(f"spandrel:{files['fftformer']}")
    assert (source.name, source.scale, source.outputs) == ("fftformer", 1, ("result",))
    assert [(spec.name, spec.words, spec.color) for spec in source.inputs] == [("image", "1x3xHxW", "RGB")]
    assert source.sizes is not None and source.sizes.multiple_of == 32 and source.samples is None
    assert "FFTformer" in source.note and any("'params_ema'" in note for note in source.notes)
    image = torch.rand(1, 3, 64, 32)
    descriptor = spandrel.ModelLoader().load_from_file(files["fftformer"])
    with torch.no_grad():
        actual, expected = source.load()(image), descriptor.model.eval()(image)
    assert torch.equal(actual, expected)


@needs_spandrel
def test_lama_takes_a_photo_and_a_mask(files: dict[str, Path]) -> None:
    source = find(f"spandrel:{files['lama']}")
    assert [(spec.name, spec.words, spec.layout) for spec in source.inputs] == [
        ("image", "1x3xHxW", "NCHW"),
        ("mask", "1x1xHxW", None),
    ]
    specs = source.at((64, 64))
    assert source.samples is not None
    samples = source.samples(specs)
    assert len(samples) == len({sample.name for sample in samples}) >= 8
    for sample in samples:
        mask = sample.arrays["mask"]
        assert set(np.unique(mask)) == {0.0, 1.0} and 0.1 <= mask.mean() < 0.5
        assert sample.arrays["image"].shape == (1, 3, 64, 64) and sample.arrays["image"].std() > 0.01
    again = source.samples(specs)
    assert all(
        np.array_equal(a.arrays["mask"], b.arrays["mask"]) for a, b in zip(samples, again, strict=True)
    )
    tensors = [torch.from_numpy(samples[0].arrays[spec.name]) for spec in specs]
    with torch.no_grad():
        result: Any = source.load()(*tensors)
    assert result.shape == (1, 3, 64, 64)
    outside = tensors[1].expand_as(result) == 0  # LaMa keeps what is not masked
    assert torch.allclose(result[outside], tensors[0][outside], atol=1e-6)


@needs_spandrel
def test_files_that_spandrel_does_not_know_are_told(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"a": torch.ones(1)}, path)
    with pytest.raises(SourceError, match="knows no architecture with these keys"):
        find(f"spandrel:{path}")
    torch.save({"a": torch.tensor([torch.nan])}, path)
    with pytest.raises(CheckpointError, match="'a' holds values"):
        find(f"spandrel:{path}")
    with pytest.raises(CheckpointError, match="no such file"):
        find(f"spandrel:{tmp_path / 'none.pth'}")
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(print))
    with pytest.raises(CheckpointError, match="not an archive"):
        find(f"spandrel:{tmp_path / 'evil.pth'}")
    with pytest.raises(SourceError, match="--seed means nothing"):
        find(f"spandrel:{path}", seed=1)


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(SourceError, match=r'pip install "fdikp-edge\[spandrel\]"'):
        find(f"spandrel:{tmp_path / 'x.pth'}")
