"""The averaged weights, and the state file: also one that an earlier release wrote."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from fdikp_edge.models.training.samples import Mixture, Recipe
from fdikp_edge.models.training.settings import Settings, chosen_before
from fdikp_edge.models.training.state import TrainingState, averaged
from safetensors.torch import save_file
from torch import Tensor, nn

SETTINGS = {"variant": "tiny", "warmup": 200}
DECAY = 0.9


def fresh(value: float = 1.0) -> TrainingState:
    model = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(value)
    return TrainingState(model, torch.optim.AdamW(model.parameters()), averaged(model, DECAY))


def weight_of(module: nn.Module) -> Tensor:
    return module.get_parameter("weight").detach()


def formula(average: float, value: float, step: int) -> float:
    """The average after ``step``, written out."""
    decay = min(DECAY, step / (step + 10))
    return decay * average + (1 - decay) * value


def test_the_average_starts_at_the_first_weights_and_follows_the_formula() -> None:
    state, expected = fresh(1.0), 1.0
    for step in range(1, 120):  # past the step from which the decay is constant
        with torch.no_grad():
            weight_of(state.model).fill_(float(step % 7))
        state.average.update_parameters(state.model)
        expected = formula(expected, step % 7, step)
        assert weight_of(state.average.module)[0].tolist() == pytest.approx([expected] * 2, rel=1e-5), step


def test_a_state_file_of_an_earlier_release_goes_on(tmp_path: Path) -> None:
    """The layout is written out here, as release 0.1.0 wrote it."""
    stored = {"model": 3.0, "average": 2.0, "mean": 0.25, "square": 0.5}
    metadata = {
        "format": "pt",
        "fdikp_training": "1",
        "step": "50",
        "seconds": "12.500",
        "settings": json.dumps(SETTINGS, sort_keys=True),
    }
    tensors = {f"{part}/weight": torch.full((1, 2), value) for part, value in stored.items()}
    save_file(tensors, tmp_path / "state.safetensors", metadata)
    state = fresh()
    state.restore(tmp_path / "state.safetensors", SETTINGS)
    assert (state.step, state.seconds) == (50, 12.5)
    assert weight_of(state.model).tolist() == [[3.0, 3.0]]
    moments = state.optimiser.state[state.model.get_parameter("weight")]
    assert moments["exp_avg"].tolist() == [[0.25] * 2] and moments["exp_avg_sq"].tolist() == [[0.5] * 2]
    state.average.update_parameters(state.model)
    assert weight_of(state.average.module)[0].tolist() == pytest.approx([formula(2.0, 3.0, 51)] * 2)

    state.save(tmp_path / "again.safetensors", SETTINGS)
    again = fresh()
    again.restore(tmp_path / "again.safetensors", SETTINGS)
    assert torch.equal(weight_of(again.average.module), weight_of(state.average.module))
    assert torch.equal(weight_of(again.model), weight_of(state.model)) and again.step == 50


def test_a_run_from_before_there_was_a_choice_took_the_only_one() -> None:
    """What a record from an earlier checkout says of a run, and what one of now says of the same."""
    now = Settings().fixed([])
    before = {key: value for key, value in now.items() if key != "optimiser"}
    before["recipe"] = {**now["recipe"], "mixture": {"flat": 0.05, "focused": 0.12, "layered": 0.35}}
    assert chosen_before(before) == chosen_before(now)
    others = Recipe(mixture=Mixture(patterns=0.1))
    assert chosen_before(before) != chosen_before(Settings(recipe=others).fixed([]))
    assert chosen_before(before) != chosen_before(Settings(optimiser="muon").fixed([]))
