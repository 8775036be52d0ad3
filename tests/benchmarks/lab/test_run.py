"""`fdikp-edge lab run` on two boards that are SSH servers of this machine, one of which dies half-way."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fdikp_edge.benchmarks.lab.run import run_lab
from fdikp_edge.runtime.errors import BundleError

SHORT = "profile: {queries: 3, seconds: 0.05, idle: 0, soak: 0}\n"


def write_plan(folder: Path, bundle: Path, boards: str, more: str = "") -> Path:
    (folder / "half.bundle").write_bytes(bundle.read_bytes())
    file = folder / "lab.yaml"
    file.write_text(f"bundle: half.bundle\n{SHORT}{more}boards:\n{boards}")
    return file


def board(name: str, where: str, build: str = "if-possible") -> str:
    return f"  - {{name: {name}, {where}, python: {sys.executable}, build: {build}}}\n"


def at(port: int) -> str:
    return f'ssh: "root@127.0.0.1:{port}"'


def ask(address: str, *words: str) -> str:
    """Return what labgrid's own client prints."""
    command = [sys.executable, "-m", "labgrid.remote.client", "-x", address, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def commands(home: Path) -> list[str]:
    return (home / "commands").read_text().splitlines()


def test_a_board_that_dies_stops_no_other_and_is_gone_on_with(
    boards: Callable[..., int], small_bundle: Path, tmp_path: Path
) -> None:
    ports = boards("sound"), boards("frail", dies_at="profile")
    plan = write_plan(tmp_path, small_bundle, board("sound", at(ports[0])) + board("frail", at(ports[1])))
    config, out = tmp_path / "ssh_config", tmp_path / "out"
    first = run_lab(plan, out, ssh_config=config)
    sound, frail = first["boards"]
    assert (sound["state"], list(sound["steps"])) == ("done", ["copy", "info", "build", "verify", "profile"])
    assert "tensorrt" in sound["steps"]["build"]["note"], "what was not built is told"
    assert (frail["state"], list(frail["steps"])) == ("failed", ["copy", "info", "build", "verify"])
    assert frail["reason"].startswith(f"profile: root@127.0.0.1:{ports[1]}: no connection")
    assert first["merged"] is None and json.loads((out / "lab.json").read_text()) == first

    before = commands(tmp_path / "sound"), len(commands(tmp_path / "frail"))
    boards("frail", port=ports[1])
    last = run_lab(plan, out, ssh_config=config)
    assert [row["state"] for row in last["boards"]] == ["done", "done"], last
    assert commands(tmp_path / "sound") == before[0], "a board that is done is not asked again"
    (again,) = commands(tmp_path / "frail")[before[1] :]
    assert " profile " in again, "what was done before it died is done"
    report = json.loads((out / "merged" / "report.json").read_text(encoding="utf-8"))
    assert {row["device"] for row in report["artifacts"]} == {"sound", "frail"}
    assert all(row["profile"]["clocks"]["result"]["n"] >= 3 for row in report["artifacts"])


def test_boards_of_labgrid_are_reserved_by_tag_and_given_back(
    boards: Callable[..., int], labgrid: Callable[..., str], small_bundle: Path, tmp_path: Path
) -> None:
    address = labgrid({"one": (boards("one"), "orin"), "two": (boards("two"), "nano")})
    lines = (
        board("a", "tags: {board: orin}") + board("b", "tags: {board: nano}") + board("c", "tags: {board: x}")
    )
    plan = write_plan(tmp_path, small_bundle, lines, f"coordinator: {address}\n")
    summary = run_lab(plan, tmp_path / "out", ssh_config=tmp_path / "ssh_config")
    assert [row["state"] for row in summary["boards"]] == ["done", "done", "failed"], summary
    assert [row["reason"] for row in summary["boards"]] == ["", "", "labgrid has no place with board=x"]
    assert len(commands(tmp_path / "one")) == len(commands(tmp_path / "two")) == 5
    report = json.loads((tmp_path / "out" / "merged" / "report.json").read_text(encoding="utf-8"))
    assert report["notes"][0] == "c: not in this report: labgrid has no place with board=x"
    assert ask(address, "reservations").strip() == "" and "acquired: None" in ask(
        address, "-p", "one", "show"
    )


def test_without_labgrid_a_board_by_tag_fails_with_the_command_to_install_it(
    small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("yaml", reason="reads the plan")
    monkeypatch.setitem(sys.modules, "labgrid", None)
    monkeypatch.delitem(sys.modules, "labgrid.remote.client", raising=False)
    plan = write_plan(tmp_path, small_bundle, board("a", "tags: {board: orin}"), "coordinator: localhost\n")
    (row,) = run_lab(plan, tmp_path / "out")["boards"]
    assert row["state"] == "failed" and "fdikp-edge[lab]" in row["reason"]


def test_a_board_that_must_have_tensorrt_fails_without_it(
    boards: Callable[..., int], small_bundle: Path, tmp_path: Path
) -> None:
    plan = write_plan(tmp_path, small_bundle, board("bare", at(boards("bare")), "required"))
    (row,) = run_lab(plan, tmp_path / "out", ssh_config=tmp_path / "ssh_config")["boards"]
    assert row["state"] == "failed" and list(row["steps"]) == ["copy", "info"]
    assert row["reason"].startswith("build: TensorRT engines cannot be built: ")


def test_a_bundle_that_is_damaged_goes_to_no_board(small_bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("yaml", reason="reads the plan")
    plan = write_plan(tmp_path, small_bundle, board("a", at(1)))
    (tmp_path / "half.bundle").write_bytes(small_bundle.read_bytes()[:-100])
    with pytest.raises(BundleError, match="truncated"):
        run_lab(plan, tmp_path / "out")
    assert not (tmp_path / "out").exists()
