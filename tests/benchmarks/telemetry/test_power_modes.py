"""Power modes on programs that behave as a Jetson's: chosen, set, refused, and always set back."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import small_bundle as maker
from fake_board import Board, board
from fdikp_edge.benchmarks.device_profile import report, summary_lines
from fdikp_edge.benchmarks.power_sweep import profile_all_modes
from fdikp_edge.benchmarks.telemetry import power_modes
from fdikp_edge.benchmarks.telemetry.power_modes import (
    Mode,
    ModeRefusedError,
    choose,
    current,
    offered,
    restored,
    set_mode,
)
from fdikp_edge.benchmarks.timing.protocol import Protocol
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.errors import BadInputError, DeviceError, TargetUnavailableError
from fdikp_edge.runtime.sessions import open_session

MODES = (Mode(0, "15W"), Mode(1, "25W"), Mode(2, "MAXN_SUPER"), Mode(3, "7W"))
SHORT = Protocol(20, 0.3, idle_seconds=0.3, soak_seconds=0, interval_s=0.05)


@pytest.fixture
def jetson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    return board(tmp_path, monkeypatch)


def test_modes_are_chosen_by_name_or_number(jetson: Board) -> None:
    assert offered() == MODES and current() == MODES[1]
    assert choose("all", MODES) == MODES
    assert choose("maxn_super, 0", MODES) == (MODES[2], MODES[0])
    for text in ("30W", "", "0,30W"):
        with pytest.raises(BadInputError, match=r"not on this board; expected all, or: 15W \(0\), 25W"):
            choose(text, MODES)


def test_a_mode_that_needs_a_restart_is_refused_and_nothing_restarts(jetson: Board) -> None:
    with pytest.raises(ModeRefusedError, match="7W needs a restart"):
        set_mode(MODES[3])
    assert jetson.mode == "25W" and "rebooted" not in jetson.asked


def test_a_mode_that_is_not_set_says_what_nvpmodel_said(jetson: Board) -> None:
    jetson.broken.touch()
    with pytest.raises(ModeRefusedError, match="MAXN_SUPER could not be set: NVPM ERROR: Error writing 2"):
        set_mode(MODES[2], settle_s=0)


def test_the_mode_from_before_is_set_again_after_an_error(jetson: Board) -> None:
    with pytest.raises(ZeroDivisionError), restored() as before:
        set_mode(MODES[0])
        assert before == MODES[1] and jetson.mode == "15W"
        raise ZeroDivisionError
    assert jetson.mode == "25W"


def test_a_mode_that_cannot_be_set_again_is_an_error_with_the_remedy(
    jetson: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(power_modes.set_mode, "__defaults__", (0.0,))
    with pytest.raises(DeviceError, match=r"25W could not be set again: .*run: nvpmodel -m 1"), restored():
        set_mode(MODES[0])
        jetson.broken.touch()


def test_without_root_or_a_jetson_nothing_is_changed(
    jetson: Board, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(power_modes.os, "geteuid", lambda: 1000)
    with pytest.raises(TargetUnavailableError, match="by root only"), restored():
        pytest.fail("not root")
    assert jetson.asked == []
    with pytest.raises(TargetUnavailableError, match="power modes need a Jetson"):
        offered(tmp_path / "absent.conf")


WAITING = """\
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background of a shell has none
from fdikp_edge.benchmarks.telemetry import power_modes
power_modes.CONF, power_modes.os.geteuid = power_modes.Path(sys.argv[1]), lambda: 0
with power_modes.restored():
    power_modes.set_mode(power_modes.Mode(0, "15W"))
    print("set", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_signals_set_the_mode_again(jetson: Board) -> None:
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        process = subprocess.Popen(
            [sys.executable, "-c", WAITING, str(jetson.conf)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        with process, process.stdout:
            assert process.stdout.readline() == "set\n" and jetson.mode == "15W"
            process.send_signal(number)
            time.sleep(0.02)
            process.send_signal(number)  # an impatient user
            assert process.wait(60) != 0
        assert jetson.mode == "25W", number


def test_an_artifact_is_profiled_in_each_mode(jetson: Board, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    artifact = Artifact.open(maker.make(folder))
    told: list[str] = []
    opener = functools.partial(open_session, artifact, threads=1)
    row = profile_all_modes(opener, "all", told=told.append, protocol=SHORT)
    assert jetson.mode == "25W" and jetson.asked == ["0", "1", "2", "3", "1"]
    assert row["state"] == "verified" and row["profile"]["layers"]
    entries = {entry["name"]: entry for entry in row["profile"]["power_modes"]}
    assert list(entries) == ["15W", "25W", "MAXN_SUPER", "7W"]
    assert "restart" in entries["7W"]["problem"] and entries["25W"]["was_set"]
    for number, name in enumerate(("15W", "25W", "MAXN_SUPER")):
        entry = entries[name]
        assert entry["power"]["total"]["mean_mw"] == pytest.approx(4000 + 3000 * number, abs=1500)
        frame = entry["energy_per_frame_mj"]
        assert frame["gross"] == pytest.approx(
            entry["power"]["total"]["mean_mw"] * frame["seconds_per_frame"], rel=0.01, abs=0.01
        )
        assert entry["clocks"]["result"]["n"] >= 20 and entry["settings"]["nvpmodel"]["power_mode"] == name
    lines = list(summary_lines(report([row], [artifact], ["profile"])))
    assert any(line.startswith("  MAXN_SUPER: p50") and " mJ per frame" in line for line in lines)
    assert any("7W: not measured, 7W needs a restart" in line for line in lines)
    with pytest.raises(BadInputError, match="leave out the recording"):
        profile_all_modes(opener, "all", replay=tmp_path / "log")


def test_a_soak_of_hours_is_not_cut() -> None:
    assert Protocol().max_seconds == 1800
    assert Protocol(seconds=7200).max_seconds == 14_400
    assert Protocol(seconds=7200, max_seconds=60).max_seconds == 60
