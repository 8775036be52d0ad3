"""A real, short training of tiny, killed in the middle."""

import csv
import itertools
import json
import math
import os
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fdikp_edge.models import zoo
from fdikp_edge.models.checkpoint import read_checkpoint
from fdikp_edge.models.training.log import STEPS, VALIDATIONS, Table, draw
from fdikp_edge.models.training.run import in_bfloat16, train
from fdikp_edge.models.training.samples import Recipe
from fdikp_edge.models.training.settings import Settings
from fdikp_edge.runtime.errors import BadInputError, CheckpointError, OutputError, SizeError

STEPS_IN_ALL = 6


def command(photos: Path, out: Path, *more: str) -> list[str]:
    options = (
        f"--steps {STEPS_IN_ALL} --batch 1 --radius 4 --held-out 1 --threads 1 --workers 0 --save-every 2"
    )
    program = [sys.executable, "-m", "fdikp_edge.models.training", "--photos", str(photos), "--out", str(out)]
    return [*program, *options.split(), "--validate-every", "100", *more]


def losses(out: Path) -> list[tuple[int, float]]:
    with (out / "steps.csv").open(newline="", encoding="utf-8") as file:
        return [(int(row["step"]), float(row["loss"])) for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def whole(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without a break."""
    out = tmp_path_factory.mktemp("whole")
    done = subprocess.run(command(photo_folder, out), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(out / "weights.safetensors")
    return out


def test_a_killed_run_goes_on_as_if_nothing_had_happened(
    whole: Path, photo_folder: Path, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        command(photo_folder, tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and process.poll() is None:
            if (tmp_path / "steps.csv").exists() and len(losses(tmp_path)) >= 3:
                break
            time.sleep(0.02)
        assert process.poll() is None, "the run ended before it could be killed"
    finally:
        process.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
        process.wait()
    saved = int(read_checkpoint(tmp_path / "state.safetensors").metadata["step"])
    assert 2 <= saved < STEPS_IN_ALL and not (tmp_path / "weights.safetensors").exists()

    done = subprocess.run(command(photo_folder, tmp_path), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert [step for step, _ in losses(tmp_path)] == list(range(1, STEPS_IN_ALL + 1))
    assert losses(tmp_path) == losses(whole)
    weights = [zoo.weights_sha256(zoo.load(out / "weights.safetensors")) for out in (whole, tmp_path)]
    assert weights[0] == weights[1]


def test_a_run_leaves_weights_a_record_and_a_picture(whole: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no word of untrained weights
        model = zoo.load(whole / "weights.safetensors")
    assert model.trained and "6 steps of 1 pairs" in model.weights_note
    record = json.loads((whole / "run.json").read_text(encoding="utf-8"))
    assert record["steps_done"] == STEPS_IN_ALL and record["weights_sha256"] == zoo.weights_sha256(model)
    assert len(record["trained_on"]) == 2 and len(record["validated_on"]) == 1
    assert (whole / "curve.png").read_bytes().startswith(b"\x89PNG")
    initial = zoo.load("tiny", seed=0)
    changed = [
        name
        for name, value in model.named_parameters()
        if not torch.equal(value, dict(initial.named_parameters())[name])
    ]
    assert len(changed) == len(list(model.named_parameters()))


def test_a_finished_run_has_nothing_left_to_do(whole: Path, photo_folder: Path) -> None:
    before = losses(whole)
    done = subprocess.run(command(photo_folder, whole), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert losses(whole) == before


def test_bfloat16_is_the_same_network_but_for_its_rounding() -> None:
    model = zoo.load("tiny")
    picture = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        exact, rounded = model(picture)[-1], in_bfloat16(model, "cpu")(picture)[-1].float()
    assert not torch.equal(exact, rounded)
    # Eight bits of mantissa, on what is added to the picture alone.
    assert float((exact - rounded).abs().max()) < 0.05 * float((exact - picture).abs().max())


def test_another_setting_is_refused_by_name(whole: Path, photo_folder: Path) -> None:
    done = subprocess.run(
        command(photo_folder, whole, "--rate", "0.5"), capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 2
    assert "learning_rate 0.001 and goes on with 0.5" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("share", ["0.9", "-0.1", "nan"])
def test_a_share_of_patterns_that_leaves_too_few_pairs_is_refused(
    share: str, photo_folder: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        command(photo_folder, tmp_path / "run", "--patterns", share),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 2 and "expected 0 to 0.45" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_another_share_of_patterns_is_refused_by_name(whole: Path, photo_folder: Path) -> None:
    done = subprocess.run(
        command(photo_folder, whole, "--patterns", "0.2"), capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 2 and "'patterns': 0.2" in done.stderr and "Traceback" not in done.stderr


def test_a_damaged_state_is_refused(whole: Path, photo_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "state.safetensors").write_bytes((whole / "state.safetensors").read_bytes()[:-100])
    done = subprocess.run(command(photo_folder, tmp_path), capture_output=True, text=True, timeout=600)
    assert done.returncode == 2 and "truncated" in done.stderr and "Traceback" not in done.stderr


def test_weights_are_not_taken_for_a_state(whole: Path, photo_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "state.safetensors").write_bytes((whole / "weights.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="not the state of a training run"):
        train(Settings(held_out=1, recipe=Recipe(largest_radius=4)), photo_folder, tmp_path, workers=0)


def test_muon_goes_on_as_if_nothing_had_happened(photo_folder: Path, tmp_path: Path) -> None:
    settings = Settings(
        steps=4,
        batch=1,
        held_out=1,
        validation=1,
        warmup=1,
        optimiser="muon",
        recipe=Recipe(largest_radius=4),
    )
    for folder, ends in ("whole", [None]), ("parts", [2, None]):
        for end in ends:
            train(settings, photo_folder, tmp_path / folder, workers=0, stop_at=end)
    whole, parts = (
        read_checkpoint(tmp_path / name / "state.safetensors").tensors for name in ("whole", "parts")
    )
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    with pytest.raises(CheckpointError, match="optimiser 'muon' and goes on with 'adamw'"):
        train(replace(settings, optimiser="adamw"), photo_folder, tmp_path / "parts", workers=0)


def test_bad_settings_are_refused_before_any_work(photo_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="at least 1"):
        train(Settings(steps=0), photo_folder, tmp_path / "a")
    with pytest.raises(SizeError, match="multiple of 128"):
        train(Settings(recipe=Recipe(side=200)), photo_folder, tmp_path / "b")
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_named(photo_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        train(Settings(held_out=1, recipe=Recipe(largest_radius=4)), photo_folder, tmp_path / "file" / "run")


def rates(settings: Settings, first: int = 0) -> list[float]:
    """The learning rates of the steps from ``first`` on."""
    optimiser = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=settings.learning_rate)
    schedule = settings.schedule(optimiser, first)
    rates = []
    for _ in range(first, settings.steps):
        rates.append(float(optimiser.param_groups[0]["lr"]))
        optimiser.step()
        schedule.step()
    return rates


def formula(settings: Settings, step: int) -> float:
    """The learning rate of a step counted from 0, written out."""
    if step < settings.warmup:
        return settings.learning_rate * (step + 1) / settings.warmup
    done = (step - settings.warmup) / (settings.steps - settings.warmup)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def test_the_rate_warms_up_and_falls_to_nothing() -> None:
    settings = Settings(steps=1000, warmup=100, learning_rate=1e-3)
    series = rates(settings)
    assert series[0] == pytest.approx(1e-5) and max(series) == pytest.approx(1e-3)
    assert series.index(max(series)) in (99, 100)
    assert series[550] == pytest.approx(5e-4, rel=0.01) and series[-1] < 1e-8
    assert all(a >= b for a, b in itertools.pairwise(series[100:]))


@pytest.mark.parametrize(("steps", "warmup"), [(1000, 100), (300, 1), (300, 0), (30, 200), (200, 200)])
def test_the_rate_is_that_of_its_formula_also_where_a_run_goes_on(steps: int, warmup: int) -> None:
    settings = Settings(steps=steps, warmup=warmup)
    expected = [formula(settings, step) for step in range(steps)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for first in {0, 1, 7, warmup // 2, warmup, steps - 1} & set(range(steps)):
            assert rates(settings, first) == pytest.approx(expected[first:], rel=1e-9, abs=1e-18), first


def test_a_table_survives_a_row_cut_short(tmp_path: Path) -> None:
    table = Table(tmp_path / "t.csv", STEPS)
    table.begin(0)
    for step in (1, 2, 3):
        table.add(step, 0.5 / step, 1e-3, 1.0, float(step))
    with table.path.open("a", encoding="utf-8") as file:
        file.write("4,0.12")
    assert [row[0] for row in table.rows()] == [1, 2, 3]
    table.begin(2)
    assert [row[0] for row in table.rows()] == [1, 2]
    validations = Table(tmp_path / "v.csv", VALIDATIONS)
    validations.begin(0)
    validations.add(2, 20.0, 21.0)
    assert draw(table, validations, tmp_path / "curve.png")
