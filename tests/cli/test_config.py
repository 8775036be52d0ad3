"""Defaults of options from a file, and which of them a file may not set."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from fdikp_edge.cli.config import read_config
from fdikp_edge.cli.main import app
from fdikp_edge.runtime.errors import BadInputError

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_file_sets_what_is_not_typed(cli: Any, tmp_path: Path, make_artifact: Callable[..., Path]) -> None:
    (tmp_path / "fdikp-edge.toml").write_text("json = true\nthreads = 1\n[bench]\nruns = 7\neager = false\n")
    artifact = make_artifact(golden=0.5)
    done = cli("bench", artifact, "--no-save")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["artifacts"]
    assert row["session"]["threads"] == 1 and row["latency_ms"]["n"] < 20
    assert "eager_p50" not in row["latency_ms"]
    assert "fdikp-edge.toml sets eager, json, runs, threads" in done.stderr
    typed = cli("bench", artifact, "--no-save", "--runs", 30)
    assert json.loads(typed.stdout)["artifacts"][0]["latency_ms"]["n"] >= 30
    without = cli("--no-config", "bench", artifact, "--no-save", "--runs", 3, "--no-eager")
    assert "Milliseconds per tile" in without.stdout and "sets" not in without.stderr


def test_the_table_of_a_command_counts_before_the_top_and_the_own_file_before_pyproject(folder: Path) -> None:
    project = folder / "pyproject.toml"
    project.write_text('[tool.fdikp-edge]\nsize = "512"\n[tool.fdikp-edge.export]\nsize = "256x384"\n')
    path, defaults = read_config(None, COMMANDS)
    assert path == Path("pyproject.toml")
    assert defaults["deploy"]["size"] == "512" and defaults["export"]["size"] == "256x384"
    assert "size" not in defaults.get("doctor", {})
    (folder / "fdikp-edge.toml").write_text("threads = 3\n")
    path, defaults = read_config(None, COMMANDS)
    assert path == Path("fdikp-edge.toml") and "size" not in defaults["deploy"]
    assert read_config(Path("pyproject.toml"), COMMANDS)[1]["deploy"] == {"size": "512"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense = 1", "no command has an option 'nonsense'"),
        ("[deploy]\nsizes = 1", "deploy has no option 'sizes'.*size"),
        ("[deplox]\nsize = 1", "no command 'deplox'.*deploy"),
        ("[deploy]\nsize = {a = 1}", "deploy.size: expected"),
        ("[deploy]\nsize = 2020-01-01", "deploy.size: expected"),
        ("[deploy", "no valid TOML"),
        ("x = '\xff", "no valid TOML"),
        ("[deploy]\nmodel = 'net.py:Net'", "model of deploy names code.*--config"),
        ("metric = 'm.py:f'", "metric of .* names code"),
        ("[run]\nray = 'somewhere:6379'", "ray of run names a cluster.*--config"),
        ("ray = 'auto'", "ray of run names a cluster"),
    ],
)
def test_what_a_file_may_not_say(folder: Path, text: str, words: str) -> None:
    (folder / "fdikp-edge.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(BadInputError, match=words):
        read_config(None, COMMANDS)


def test_a_file_that_is_named_may_name_code(folder: Path) -> None:
    (folder / "own.toml").write_text("[deploy]\nmodel = 'net.py:Net'\n")
    assert read_config(Path("own.toml"), COMMANDS)[1] == {"deploy": {"model": "net.py:Net"}}
    (folder / "fdikp-edge.toml").write_text("[deploy]\nmodel = 'weights.safetensors'\n")
    assert read_config(None, COMMANDS)[1] == {"deploy": {"model": "weights.safetensors"}}


def test_code_named_by_a_file_that_nobody_named_does_not_run(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("import pathlib\npathlib.Path('ran').touch()\n")
    (tmp_path / "fdikp-edge.toml").write_text("[export]\nmodel = 'net.py:Net'\n")
    done = cli("export", "--out", "out")
    assert done.returncode == 2 and "names code" in done.stderr
    assert not (tmp_path / "ran").exists()


def test_other_projects_are_left_alone(folder: Path) -> None:
    for text in ("[tool.other]\nx = 1\n", "no toml at all", "[tool.other]\nx = 'fdikp-edge'\n"):
        (folder / "pyproject.toml").write_text(text)
        assert read_config(None, COMMANDS) == (None, {})


@pytest.mark.parametrize("place", ["missing.toml", "."])
def test_a_file_that_is_not_there_is_an_error(cli: Any, place: str) -> None:
    done = cli("--config", place, "doctor")
    assert done.returncode == 2 and "Traceback" not in done.stderr


def test_a_value_of_the_wrong_kind_is_an_error(program: Any, tmp_path: Path) -> None:
    (tmp_path / "fdikp-edge.toml").write_text("[bench]\nruns = 'many'\n")
    done = program("bench", "nowhere")
    assert done.returncode == 2 and "--runs" in done.stderr and "Traceback" not in done.stderr


def test_the_example_of_the_page_is_read(folder: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (folder / "fdikp-edge.toml").write_text(example)
    _, defaults = read_config(None, COMMANDS)
    assert defaults["deploy"]["target"] == ["onnx", "openvino"] and defaults["bench"]["eager"] is False
    assert defaults["verify"]["threads"] == 2


def test_only_a_file_that_is_named_may_replace_files(folder: Path) -> None:
    (folder / "fdikp-edge.toml").write_text("[run]\noverwrite = true\n")
    with pytest.raises(BadInputError, match="overwrite of run"):
        read_config(None, COMMANDS)
    assert read_config(folder / "fdikp-edge.toml", COMMANDS)[1] == {"run": {"overwrite": True}}
    (folder / "fdikp-edge.toml").write_text("[run]\noverwrite = false\n")
    assert read_config(None, COMMANDS)[1] == {"run": {"overwrite": False}}


def test_the_gate_writes_its_results_into_xml_only(cli: Any, folder: Path) -> None:
    (folder / "victim.py").write_text("mine")
    done = cli("gate", "build", "-b", "none.json", "--junit", "victim.py")
    assert done.returncode == 2 and ".xml" in done.stderr
    assert (folder / "victim.py").read_text() == "mine"


@pytest.mark.parametrize("option", ["--out", "-o", "--model", "--log-file"])
@pytest.mark.parametrize("bad", ["a\x1b[31m", "a\nb", "a\udcff", "a\x9b"])
def test_a_path_that_no_passport_can_hold_is_refused_at_once(cli: Any, option: str, bad: str) -> None:
    words = (option, bad, "deploy") if option == "--log-file" else ("deploy", option, bad)
    done = cli(*words)
    assert done.returncode == 2 and "control characters" in done.stderr and "\x1b" not in done.stderr
    assert "control characters" not in cli("run", bad, "--artifact", "none").stderr
