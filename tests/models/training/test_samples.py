from pathlib import Path

import pytest
import torch
from fdikp_edge.models.training.photos import SharpPhoto, read_photos
from fdikp_edge.models.training.samples import DefocusPairs, Mixture, Recipe


@pytest.fixture(scope="module")
def photos(photo_folder: Path) -> list[SharpPhoto]:
    return read_photos(photo_folder, smallest=200)


def test_a_pair_depends_on_its_number_alone(photos: list[SharpPhoto]) -> None:
    recipe = Recipe(side=64, largest_radius=6)
    few, many = DefocusPairs(photos, recipe, 4), DefocusPairs(photos, recipe, 400)
    before = few[3]
    _ = many[0], many[7]
    assert all(torch.equal(a, b) for a, b in zip(before, many[3], strict=True))
    other = DefocusPairs(photos, Recipe(side=64, largest_radius=6, seed=1), 4)[3]
    assert not torch.equal(before[1], other[1])
    assert not torch.equal(before[1], few[2][1])


def test_pairs_are_pictures_and_the_first_is_the_blurred_one(photos: list[SharpPhoto]) -> None:
    recipe = Recipe(side=64, largest_radius=8, mixture=Mixture(flat=0, focused=0))
    pairs = DefocusPairs(photos, recipe, 40)
    softer = 0
    for index in range(40):
        blurred, sharp = pairs[index]
        assert blurred.shape == sharp.shape == (3, 64, 64) and blurred.dtype == torch.float32
        assert float(blurred.min()) >= 0 and float(blurred.max()) <= 1 and float(sharp.max()) <= 1
        steep = [float(p.diff(dim=1).abs().mean()) for p in (blurred, sharp)]
        softer += steep[0] < steep[1]
        assert float(blurred.mean()) == pytest.approx(float(sharp.mean()), abs=0.1)
    assert softer >= 32  # those left are hardly blurred, and noisy


def test_flat_pairs_are_flat_and_focused_ones_are_not_blurred(photos: list[SharpPhoto]) -> None:
    flat = DefocusPairs(photos, Recipe(side=64, mixture=Mixture(flat=1.0)), 8)
    for blurred, sharp in (flat[i] for i in range(8)):
        assert torch.equal(blurred, sharp) and float(sharp.std(dim=(1, 2)).max()) == pytest.approx(
            0, abs=1e-6
        )
    focused = DefocusPairs(photos, Recipe(side=64, mixture=Mixture(flat=0.0, focused=1.0)), 8)
    for blurred, sharp in (focused[i] for i in range(8)):
        # What differs is noise and compression: as much in one place as in another, no lost edges.
        steep = [float(p.diff(dim=1).abs().mean()) for p in (blurred, sharp)]
        assert steep[0] > 0.85 * steep[1]


def test_a_radius_of_zero_leaves_all_layers_sharp(photos: list[SharpPhoto]) -> None:
    recipe = Recipe(side=64, largest_radius=0.0, mixture=Mixture(flat=0, focused=0, layered=1.0))
    for blurred, sharp in (DefocusPairs(photos, recipe, 6)[i] for i in range(6)):
        assert float(blurred.diff(dim=1).abs().mean()) > 0.85 * float(sharp.diff(dim=1).abs().mean())


def test_patterns_are_in_focus_and_noisy_by_half_a_step(photos: list[SharpPhoto]) -> None:
    recipe = Recipe(side=64, mixture=Mixture(patterns=1.0))
    for blurred, sharp in (DefocusPairs(photos, recipe, 8)[i] for i in range(8)):
        assert blurred.shape == sharp.shape == (3, 64, 64)
        assert torch.allclose(sharp * 255, (sharp * 255).round(), atol=1e-4)
        noise = (blurred - sharp) * 255
        assert 0.1 < float(noise.abs().max()) <= 0.5 + 1e-4 and float(blurred.min()) >= 0
