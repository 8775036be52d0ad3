"""Commands where PyTorch is not installed: what only PyTorch can honour is refused, not ignored."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python then finds no module `torch`, and `import torch` fails as where it is not installed."""
    monkeypatch.setitem(sys.modules, "torch", None)


PHOTO = ("--photo", Path(__file__).parents[2] / "runtime" / "samples" / "coffee.jpg")
NETWORK = (
    ("--weights", "net.safetensors"),
    ("--seed", 3),
    ("--model", "tiny"),
    ("--model-arg", "a=1"),
    ("--input", "x=1x3x64x64"),
    ("--samples", "."),
)


@pytest.mark.parametrize("option", [PHOTO, *NETWORK], ids=lambda option: option[0])
def test_an_option_that_only_pytorch_can_honour_is_an_error(
    cli: Any, make_artifact: Callable[..., Path], option: tuple[str, object], no_torch: None
) -> None:
    artifact = make_artifact(golden=0.5)
    before = (artifact / "passport.json").read_bytes()
    done = cli("verify", artifact, *option)
    assert done.returncode == 2 and done.stdout == ""
    assert option[0] in done.stderr and "PyTorch" in done.stderr and "not installed" in done.stderr
    assert (artifact / "passport.json").read_bytes() == before


@pytest.mark.parametrize("option", [PHOTO, *NETWORK], ids=lambda option: option[0])
def test_golden_data_alone_excludes_them_too(
    cli: Any, make_artifact: Callable[..., Path], option: tuple[str, object]
) -> None:
    done = cli("verify", make_artifact(golden=0.5), "--golden", *option)
    assert done.returncode == 2 and option[0] in done.stderr and "--golden" in done.stderr


@pytest.mark.parametrize("option", NETWORK, ids=lambda option: option[0])
def test_bench_refuses_a_network_that_it_does_not_time(
    cli: Any, make_artifact: Callable[..., Path], option: tuple[str, object]
) -> None:
    done = cli("bench", make_artifact(golden=0.5), "--no-eager", "--runs", 3, *option)
    assert done.returncode == 2 and option[0] in done.stderr and "--no-eager" in done.stderr


def test_bench_refuses_it_without_pytorch(
    cli: Any, make_artifact: Callable[..., Path], no_torch: None
) -> None:
    done = cli("bench", make_artifact(golden=0.5), "--runs", 3, "--seed", 1)
    assert done.returncode == 2 and "--seed" in done.stderr and "not installed" in done.stderr


def test_a_result_against_golden_data_alone_says_so(
    cli: Any, make_artifact: Callable[..., Path], no_torch: None
) -> None:
    done = cli("verify", make_artifact(golden=0.5))
    assert done.returncode == 0 and "golden only" in done.stdout
    (row,) = json.loads(cli("verify", make_artifact(golden=0.5), "--json").stdout)["artifacts"]
    assert row["against"] == "golden" and "golden output of one photo" in row["reason"]
