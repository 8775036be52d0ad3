"""Flat greys: an error that is alike at all levels goes, whatever the network makes of the rest."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from fdikp_edge.models import zoo
from fdikp_edge.models.fdikp.fdikp import FDIKP
from fdikp_edge.models.training import greys
from fdikp_edge.models.training.greys import fit_greys


def errors(model: FDIKP, level: float) -> torch.Tensor:
    """Return the error inside a flat field, [3, h, w]."""
    with torch.no_grad():
        result = model(torch.full((1, 3, 256, 256), level))[-1][0]
    return (result - level)[:, 16:-16, 16:-16]


def test_a_shifted_colour_is_taken_back_and_nothing_else_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greys, "LEVELS", (0.1, 0.4, 0.7, 1.0))  # fewer, for the time it takes
    trained = zoo.load("tiny")
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    shifted = copy.deepcopy(trained)
    with torch.no_grad():
        shifted.dsrm.out.bias += torch.tensor([2.0, -1.0, 0.5]) / 255
    assert errors(shifted, 0.6).abs().max() > 1.5 / 255
    left = fit_greys(shifted)
    assert left < 0.5 / 255, "a half step is what an 8-bit file shows"
    for level in greys.LEVELS:
        assert errors(shifted, level).abs().max() <= left + 1e-6
    changed = {name for name, value in shifted.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"dsrm.out.bias", "dsrm.out.weight"}


def test_the_command_writes_weights_and_keeps_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "weights.safetensors"
    monkeypatch.setattr(greys, "LEVELS", (0.2, 0.8))  # fewer, for the time it takes
    monkeypatch.setattr("sys.argv", ["greys", "tiny", "--out", str(out)])
    greys.main()
    assert zoo.load(out).trained and "of 255 off" in capsys.readouterr().out
    written = out.read_bytes()
    with pytest.raises(SystemExit) as stopped:
        greys.main()
    assert stopped.value.code == 2 and "exists already" in capsys.readouterr().err
    assert out.read_bytes() == written
    monkeypatch.setattr("sys.argv", ["greys", "base", "--out", str(tmp_path / "base.safetensors")])
    with pytest.raises(SystemExit) as stopped:
        greys.main()
    assert stopped.value.code == 2 and "train it first" in capsys.readouterr().err
    assert not (tmp_path / "base.safetensors").exists()
