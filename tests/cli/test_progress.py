"""What is shown while work goes on: a line at once, then one for each step, and nothing of it on stdout."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import small_bundle as maker
from fdikp_edge.benchmarks.accuracy.parity import verify_golden
from fdikp_edge.cli import show
from fdikp_edge.cli.device.measuring import figures_of
from fdikp_edge.runtime.sessions import open_session


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return maker.make(tmp_path_factory.mktemp("half"))


def test_without_a_terminal_the_first_line_comes_before_the_work(capfd: pytest.CaptureFixture[str]) -> None:
    with show.working("reading the network", slow=True) as step:
        assert capfd.readouterr().err == "reading the network\n"
        step(0, 2, "reading the network")
        step(1, 2, "lowering")
        step(1, 2, "lowering")
        print("a library's word")
    shown = capfd.readouterr()
    assert shown.err == "[1/2] lowering\na library's word\n" and shown.out == ""


def test_a_bundle_tells_its_steps(cli: Any, half: Path) -> None:
    done = cli("bundle", half, "--out", "x.bundle")
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    steps = [f"[0/2] preparing {half.name}", "[1/2] writing x.bundle"]
    assert lines[:2] == steps


def test_figures_of_tensors_are_called_snr(half: Path) -> None:
    with open_session(half) as session:
        parity = verify_golden(session)
    assert "max abs" in figures_of(parity) and "PSNR" in figures_of(parity)
    tensor = figures_of(dataclasses.replace(parity, measure="tensor"))
    assert "max rel" in tensor and ", SNR" in tensor
