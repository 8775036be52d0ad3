"""`fdikp-edge lab run` as a user types it; tests/benchmarks/lab runs it on boards."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("yaml", reason="PyYAML reads the plan (extra lab)")


def test_a_board_that_nobody_reaches_is_a_row_and_exit_code_1(
    cli: Any, small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("ssh") is None:
        pytest.skip("OpenSSH's client is not installed")
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "lab.yaml").write_text(
        f"bundle: {small_bundle}\nboards: [{{name: nano, ssh: 'nobody@127.0.0.1:1'}}]\n"
    )
    done = cli("lab", "run", "lab.yaml")
    assert (
        done.returncode == 1
        and "nano" in done.stdout
        and "copy: nobody@127.0.0.1:1: no connection" in done.stdout
    )
    assert "fewer than two boards" in done.stderr and "Traceback" not in done.stderr
    (row,) = json.loads(cli("lab", "run", "lab.yaml", "--json").stdout)["boards"]
    assert (row["state"], row["steps"]) == ("failed", {})
    assert json.loads((tmp_path / "lab" / "lab.json").read_text())["boards"] == [row]


@pytest.mark.parametrize(
    ("text", "reason"),
    [("bundle: none\nboards: [{name: a, ssh: b}]\n", "none: cannot be read"), ("a: [", "is no YAML")],
)
def test_bad_use_of_lab(text: str, reason: str, cli: Any, tmp_path: Path) -> None:
    (tmp_path / "lab.yaml").write_text(text)
    done = cli("lab", "run", "lab.yaml")
    assert done.returncode == 2 and reason in done.stderr and not (tmp_path / "lab").exists()
