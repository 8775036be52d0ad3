"""The trials of the latency check: what is planted is work and no other picture, and the table counts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fdikp_edge.benchmarks.studies import gate_trials
from fdikp_edge.benchmarks.studies.gate_trials import main, plant
from fdikp_edge.benchmarks.timing import paired
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.errors import BadInputError
from fdikp_edge.runtime.sessions import open_session
from golden_pair import golden_pair
from torch import nn

Make = Callable[..., Artifact]


def test_planted_work_changes_the_file_and_not_the_picture(good: Artifact, tmp_path: Path) -> None:
    planted = plant(good, tmp_path / "planted", 40)
    assert planted.passport.files != good.passport.files
    x, _ = golden_pair(good)
    with open_session(good, threads=1) as old, open_session(Artifact.open(planted.path), threads=1) as new:
        np.testing.assert_allclose(new.run(x), old.run(x), atol=1e-6)
    import onnx

    kinds = [node.op_type for node in onnx.load(planted.model_path).graph.node]
    assert kinds[-5:] == ["Reshape", "MatMul", "ReduceMean", "Mul", "Add"]


def test_bytes_are_refused(make_artifact: Make, blend: type[nn.Module], tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="float"):
        plant(make_artifact(blend(), contract="uint8_nhwc"), tmp_path / "planted", 8)


def test_every_trial_is_in_the_table(
    good: Artifact, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gate_trials, "TRIES", 1)
    monkeypatch.setattr(gate_trials, "PLANTING_SECONDS", 0.1)
    monkeypatch.setattr(paired, "BLOCK_SECONDS", (0.1, 0.1))
    monkeypatch.setattr(paired, "VISIT_SECONDS", 0.002)
    words = ["x", str(good.path), "--reruns", "2", "--slowdowns", "1", "--seconds", "0.1", "--clock", "cpu"]
    monkeypatch.setattr(sys, "argv", [*words, "--json"])
    main()
    shown = capsys.readouterr()
    table = json.loads(shown.out)
    assert [(row["clock"], row["n"]) for row in table["rows"]] == [("cpu", 2), ("cpu", 1)]
    for row in table["rows"]:
        assert row["no slower"] + row["slower"] + row["undecided"] == row["n"]
    assert table["artifact"] == good.path.name and table["machine"]["cpu"]
    assert shown.err.count("cpu clean") == 2
    lines = gate_trials.show(table).splitlines()
    assert lines[3].split()[:3] == ["cpu", "clean", "2"]


@pytest.mark.parametrize("words", [["--percent", "0"], ["--threads", "0"], ["none"]])
def test_bad_use_is_said(words: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fdikp_edge.benchmarks.studies.gate_trials", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
