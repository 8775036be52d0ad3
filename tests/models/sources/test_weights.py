import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from fdikp_edge.models.sources import weights
from fdikp_edge.models.sources.weights import load_weights
from fdikp_edge.runtime.errors import CheckpointError
from torch import Tensor, nn

State = dict[str, Tensor]


class Net(nn.Module):
    """A weight, a shared one, a complex one, and buffers of whole numbers and infinities."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2))
        self.head = nn.Linear(2, 2)
        self.tied = nn.Linear(2, 2)
        self.tied.weight = self.head.weight
        self.spectrum = nn.Parameter(torch.randn(3, dtype=torch.complex64))
        self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))


def state(seed: int = 1) -> State:
    torch.manual_seed(seed)
    return Net().state_dict()


def same(network: nn.Module, wanted: State) -> bool:
    return all(torch.equal(value, wanted[key].to(value.dtype)) for key, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("wrap", "noted"),
    [
        (lambda s: s, []),
        (lambda s: {"state_dict": s, "epoch": 3}, ["'state_dict'"]),
        (lambda s: {"params": state(2), "params_ema": s}, ["'params_ema'", "has 'params' too"]),
        (lambda s: {"model": {f"module.{k}": v for k, v in s.items()}}, ["'model'", "'module.'"]),
        (lambda s: {f"net.core.{k}": v for k, v in s.items()}, ["'net.core.'"]),
        (lambda s: {k: v.half() if v.is_floating_point() else v for k, v in s.items()}, ["float16 weights"]),
        (lambda s: {k: v for k, v in s.items() if k != "tied.weight"}, []),
    ],
    ids=["bare", "state_dict", "average first", "data parallel", "prefix", "half", "shared once"],
)
def test_the_usual_wrappings_are_seen_through_and_told(
    tmp_path: Path, wrap: Callable[[State], Any], noted: list[str]
) -> None:
    wanted = state()
    path = tmp_path / "w.pth"
    torch.save(wrap(wanted), path)
    network = Net()
    notes = load_weights(network, path)
    half = {k: v.half() if v.is_floating_point() else v for k, v in wanted.items()}
    assert same(network, half if "float16 weights" in noted else wanted)
    assert all(any(part in note for note in notes) for part in noted) and bool(notes) is bool(noted)


def test_safetensors_of_any_type_are_read(tmp_path: Path) -> None:
    wanted = state()
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file({k: v.clone() for k, v in wanted.items()}, path)
    network = Net()
    load_weights(network, path)
    assert same(network, wanted)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            lambda s: {k: v for k, v in s.items() if not k.startswith("body.1")},
            r"fit Net: 4 keys are missing \('body.1.weight', 'body.1.bias', 'body.1.running_mean', \.\.\.\)",
        ),
        (lambda s: s | {"extra": torch.ones(1)}, r"1 key is not part of it \('extra'\)"),
        (
            lambda s: {("new" if k == "head.bias" else k): v for k, v in s.items()},
            r"1 key is missing \('head.bias'\) and 1 key is not part of it \('new'\)",
        ),
        (
            lambda s: s | {"head.bias": torch.ones(3)},
            r"'head.bias' has shape .3., the network expects .2.",
        ),
        (lambda s: s | {"head.bias": torch.tensor([1.0, torch.nan])}, "'head.bias' holds values"),
        (lambda s: s | {"head.bias": torch.tensor([1.0, torch.inf])}, "'head.bias' holds values"),
        (lambda s: s | {"mask": torch.tensor([0.0, torch.nan])}, "'mask' holds values"),
        (lambda s: s | {"spectrum": torch.ones(3)}, "'spectrum' has type torch.float32"),
        (lambda s: {"a": torch.ones(1)}, r"keys are missing .* and 1 key is not part"),
        (lambda s: s | {"head.bias": "text"}, "holds str, not a tensor"),
        (lambda s: [1], "no table of weights"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path: Path, change: Callable[[State], Any], match: str) -> None:
    path = tmp_path / "w.pth"
    torch.save(change(state()), path)
    with pytest.raises(CheckpointError, match=match) as caught:
        load_weights(Net(), path)
    assert str(caught.value).startswith(f"{path}: ") and len(str(caught.value)) < 600


def test_size_is_bounded_by_the_networks_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "MAX_FILE_BYTES", 2000)
    path = tmp_path / "w.pth"
    torch.save(state() | {"extra": torch.ones(10_000)}, path)
    with pytest.raises(CheckpointError, match="larger than"):
        load_weights(Net(), path)
    torch.save({f"view{n}": torch.ones(1).expand(300) for n in range(3)}, path)
    monkeypatch.setattr(weights, "MAX_FILE_BYTES", 3000)
    with pytest.raises(CheckpointError, match="'view2' has an impossible shape"):
        load_weights(Net(), path)


def test_tensors_that_are_not_the_networks_are_never_read(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(state() | {"extra": torch.tensor([torch.nan])}, path)
    with pytest.raises(CheckpointError, match=re.escape("not part of it ('extra')")):
        load_weights(Net(), path)


def test_a_folder_laid_out_like_a_repository_of_hugging_face(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"auto_map": {"AutoModel": "evil.Net"}}')
    (tmp_path / "evil.py").write_text("raise SystemExit('nothing of a folder of weights is run')")
    with pytest.raises(CheckpointError, match=r"without weights; expected model\.safetensors"):
        load_weights(Net(), tmp_path)
    torch.save(state(2), tmp_path / "other.pth")
    network = Net()
    load_weights(network, tmp_path)
    assert same(network, state(2))
    torch.save(state(3), tmp_path / "third.pth")
    with pytest.raises(CheckpointError, match=r"several files of weights \(other\.pth, third\.pth\)"):
        load_weights(Net(), tmp_path)
    plain = {key: value for key, value in state(4).items() if key not in ("spectrum", "tied.weight")}
    safetensors.torch.save_file(plain, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="spectrum"):  # it is the one that is read, and lacks a key
        load_weights(Net(), tmp_path)
