"""The study of a collection on one target: each state is told from the others, and counted."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest

pytest.importorskip("torch")

from fdikp_edge.benchmarks.studies import phone_networks
from fdikp_edge.benchmarks.studies.phone_networks import Outcome, take, take_all

COLLECTION = """
import os
import torch

class Half(torch.nn.Module):
    def forward(self, x, y):
        return torch.fft.irfft(torch.fft.rfft(x) * (2 + 1j), n=x.shape[-1]) + y

class Branches(torch.nn.Module):
    def forward(self, x, y):
        return x if x.sum() > 0 else y

class Dies(torch.nn.Module):
    def forward(self, x, y):
        os._exit(3)

class Network:
    def __init__(self, name, module):
        self.name, self.module = name, module
    def build(self):
        return self.module.eval()
    def inputs(self):
        generator = torch.Generator().manual_seed(0)
        return (torch.randn(3, 6, generator=generator), torch.randn(3, 6, generator=generator))

NETWORKS = [Network("half", Half()), Network("branches", Branches()), Network("dies", Dies())]
"""


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    path = tmp_path / f"networks_of_{tmp_path.name}.py"
    path.write_text(textwrap.dedent(COLLECTION))
    return path


def test_a_network_is_built_run_and_compared(collection: Path) -> None:
    outcome = take(collection, "half", "onnx")
    assert outcome.state == "equal", outcome.detail
    assert outcome.error is not None and 0 < outcome.error < 1e-6
    assert outcome.outside is None  # ONNX Runtime has no delegate
    outcome = take(collection, "branches", "onnx")
    assert (outcome.state, outcome.error) == ("refused", None)
    assert (
        outcome.detail.startswith("DynamicShapeError: torch.export cannot trace")
        and "\n" not in outcome.detail
    )


def test_one_that_ends_the_process_costs_one_entry(collection: Path) -> None:
    outcomes = take_all(collection, ["dies", "half"], "onnx", 120)
    assert [one.state for one in outcomes] == ["crashed", "equal"]


def test_the_command_prints_a_table_and_writes_json(
    collection: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "phones.json"
    words = ["--target", "onnx", "--networks", str(collection), "--only", "half", "--json", str(out)]
    assert phone_networks.main(words) == 0
    document = json.loads(out.read_text())
    assert document["totals"] == {"equal": 1}
    assert document["outcomes"][0]["network"] == "half"
    assert "1 of 1 built, and equal to PyTorch" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        phone_networks.main(["--target", "onnx", "--networks", str(collection), "--only", "nonesuch"])
    assert "half, branches, dies" in capsys.readouterr().err


def test_the_table_says_what_stays_outside_a_delegate() -> None:
    outcomes = [
        Outcome("a", "executorch", "equal", 1.0, 1e-7, 0),
        Outcome("b", "executorch", "different", 1.0, 0.5, 3),
        Outcome("c", "executorch", "refused", 1.0, detail="LoweringError: a | b"),
    ]
    lines = phone_networks.table(outcomes).splitlines()
    assert lines[2:5] == [
        "| a | equal | 1.0e-07 | 0 |",
        "| b | different | 5.0e-01 | 3 |",
        "| c | refused | LoweringError: a / b |  |",
    ]
    assert "1 of 3 have no operator outside the delegate" in lines
