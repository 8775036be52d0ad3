import hashlib
import warnings
from pathlib import Path

import pytest
import torch
from fdikp_edge.models import zoo
from fdikp_edge.models.checkpoint import write_checkpoint
from fdikp_edge.models.fdikp.fdikp import FDIKP
from fdikp_edge.models.fdikp.variants import BASE, TINY, VARIANTS
from fdikp_edge.runtime.errors import BadInputError, CheckpointError, OutputError, UnknownNameError


@pytest.fixture
def no_shipped_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "shipped"
    folder.mkdir()
    monkeypatch.setattr(zoo, "WEIGHTS", folder)
    return folder


def trained(seed: int = 5, variant: str = "tiny") -> FDIKP:
    model = FDIKP(VARIANTS[variant], seed=seed)
    model.trained, model.weights_note = True, "trained for a test"
    return model


@pytest.mark.usefixtures("no_shipped_weights")
@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_without_trained_weights_says_so_loudly(name: str) -> None:
    with pytest.warns(zoo.UntrainedWeightsWarning, match=rf"{name}: UNTRAINED \(.*seed 0\)"):
        model = zoo.load(name)
    assert not model.training and not model.trained and "UNTRAINED" in model.weights_note
    assert model.variant is VARIANTS[name]
    assert zoo.weights_sha256(model) == zoo.weights_sha256(FDIKP(VARIANTS[name], seed=0))


def test_shipped_weights_are_taken_unless_a_seed_is_asked_for(no_shipped_weights: Path) -> None:
    zoo.save(trained(), no_shipped_weights / "tiny.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = zoo.load("tiny")
    assert model.trained and model.weights_note == "trained for a test"
    assert zoo.weights_sha256(model) == zoo.weights_sha256(trained())
    with pytest.warns(zoo.UntrainedWeightsWarning, match="seed 0"):
        assert not zoo.load("tiny", seed=0).trained


@pytest.mark.parametrize("name", VARIANTS)
def test_a_saved_network_comes_back_whole(name: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    zoo.save(trained(variant=name), path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = zoo.load(path)
    assert model.variant.name == name and not model.training
    assert zoo.weights_sha256(model) == zoo.weights_sha256(trained(variant=name))


def test_saving_what_is_untrained_does_not_make_it_trained(tmp_path: Path) -> None:
    zoo.save(FDIKP(TINY, seed=8), tmp_path / "w.safetensors")
    with pytest.warns(zoo.UntrainedWeightsWarning, match="seed 8"):
        assert not zoo.load(tmp_path / "w.safetensors").trained


def test_equal_weights_are_equal_files_and_files_are_kept(tmp_path: Path) -> None:
    for name in "ab":
        zoo.save(trained(), tmp_path / f"{name}.safetensors")
    hashes = {hashlib.sha256((tmp_path / f"{n}.safetensors").read_bytes()).hexdigest() for n in "ab"}
    assert len(hashes) == 1
    with pytest.raises(OutputError, match="exists"):
        zoo.save(trained(), tmp_path / "a.safetensors")


@pytest.mark.parametrize("name", VARIANTS)
def test_the_variant_follows_from_the_shapes_where_nothing_names_it(name: str, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"state_dict": trained(variant=name).state_dict()}, path)
    model = zoo.load(path)
    assert model.variant.name == name and model.weights_note == "loaded from w.pth" and model.trained


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_in_other_precisions_become_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    tensors = {key: value.to(dtype) for key, value in trained().state_dict().items()}
    write_checkpoint(tmp_path / "w.safetensors", tensors, {})
    for key, value in zoo.load(tmp_path / "w.safetensors").state_dict().items():
        assert value.dtype == torch.float32 and torch.equal(value, tensors[key].float())


def test_weights_that_do_not_fit_name_the_file_and_the_first_key(tmp_path: Path) -> None:
    whole = trained().state_dict()
    path = tmp_path / "w.safetensors"

    def refused(
        tensors: dict[str, torch.Tensor], match: str, metadata: dict[str, str], **options: str
    ) -> None:
        write_checkpoint(path, tensors, metadata, overwrite=True)
        with pytest.raises(CheckpointError, match=match) as caught:
            zoo.load(path, **options)  # type: ignore[arg-type]
        assert str(caught.value).startswith(f"{path}: ")

    named = {"variant": "tiny"}
    missing = {key: value for key, value in whole.items() if key not in ("stem.bias", "pac.attention.bias")}
    refused(missing, r"'tiny': key 'stem.bias' is missing \(1 more keys", named)
    refused(missing, r"'tiny': key 'stem.bias' is missing \(1 more keys", {})
    refused(
        whole | {"stem.weight": torch.ones(2, 3)},
        r"'stem.weight' has shape \[2, 3\], expected \[24, 6, 3, 3\]$",
        {},
    )
    refused(whole | {"extra": torch.ones(1)}, "key 'extra' is not part of it$", named)
    refused(dict(whole), "'base': key 'stem.weight' has shape", {"variant": "base"})
    refused(dict(whole), "'small': key 'stem.weight' has shape", named, variant="small")
    refused(dict(whole), "variant 'huge'; there are: tiny, small, base", {"variant": "huge"})
    refused(dict(whole), "format '2'; this version reads format '1'", {"fdikp_format": "2"})
    refused({}, "key 'stem.weight' is missing", {})


def test_names_that_are_neither_variant_nor_file(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="'tyni'; there are: tiny, small, base"):
        zoo.load("tyni")
    with pytest.raises(CheckpointError, match="no such file"):
        zoo.load(tmp_path / "none.safetensors")
    with pytest.raises(UnknownNameError):
        torch.save(trained().state_dict(), tmp_path / "w.pth")
        zoo.load(tmp_path / "w.pth", variant="huge")


def test_arguments_that_contradict_each_other(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="asked for variant"):
        zoo.load("tiny", variant="base")
    with pytest.raises(BadInputError, match="seed"):
        zoo.load(tmp_path / "w.safetensors", seed=3)


def test_the_hash_sees_every_weight_and_its_name() -> None:
    model = FDIKP(BASE)
    before = zoo.weights_sha256(model)
    with torch.no_grad():
        model.dsrm.out.bias[0] += 1e-6
    assert zoo.weights_sha256(model) != before
    assert zoo.weights_sha256(FDIKP(BASE)) == before


def test_shipped_weights_load_without_a_warning() -> None:
    files = sorted(zoo.WEIGHTS.glob("*.safetensors"))
    if not files:
        pytest.skip("no trained weights come with the package yet")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for file in files:
            assert zoo.load(file.stem).trained


def test_what_a_state_holds_beside_tensors_is_no_weight() -> None:
    class Recorded(torch.nn.Linear):
        def get_extra_state(self) -> dict[str, int]:
            return {"in_features": self.in_features}

    torch.manual_seed(0)
    recorded = Recorded(3, 2)
    plain = torch.nn.Linear(3, 2)
    plain.load_state_dict(
        {name: value for name, value in recorded.state_dict().items() if "extra" not in name}
    )
    assert "_extra_state" in recorded.state_dict()
    assert zoo.weights_sha256(recorded) == zoo.weights_sha256(plain)
