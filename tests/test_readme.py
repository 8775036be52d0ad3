"""Every command and program in README.md and docs/ is run, as it stands there."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from fdikp_edge.runtime import processor
from fdikp_edge.runtime.installed import entry_points

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
WHOLE = ("gate.md", "your-network.md")
"""Pages that tests of their own follow as a whole, since their steps build on each other."""
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES if page.name not in WHOLE)
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
COMMANDS = [line for kind, body in BLOCKS if kind == "shell" for line in body.splitlines() if line.strip()]
MAIN_JOB = next(line for line in COMMANDS if line.startswith("fdikp-edge deploy"))
OURS = [line for line in COMMANDS if line.startswith("fdikp-edge") and line != MAIN_JOB]
BUNDLE = next(line for line in OURS if line.startswith("fdikp-edge bundle"))
ON_DEVICE = [line for line in COMMANDS if line.startswith("python3 model.bundle ")]
BUILD = "python3 model.bundle build"


def test_every_block_is_of_a_kind_that_is_run() -> None:
    # A block without a language is a drawing, "text" a fragment. Swift needs a Mac, Kotlin Android; C++
    # and YAML belong to other tools.
    assert {kind for kind, _ in BLOCKS} <= {
        *("", "shell", "python", "text", "toml"),
        *("swift", "kotlin", "cpp", "yaml"),
    }


def test_entry_points_are_in_groups_that_are_read() -> None:
    groups = {
        group
        for kind, body in BLOCKS
        if kind == "toml"
        for group in tomllib.loads(body).get("project", {}).get("entry-points", {})
    }
    assert groups == {entry_points.TARGETS}


def test_every_command_is_of_a_kind_that_is_run() -> None:
    for command in COMMANDS:
        assert shlex.split(command)[0] in ("make", "pip", "fdikp-edge") or command in ON_DEVICE, command


def test_make_commands_are_targets_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):.*##", makefile, re.MULTILINE))
    mentioned = {shlex.split(command)[1] for command in COMMANDS if command.startswith("make ")}
    mentioned |= set(re.findall(r"`make ([a-z]+)`", TEXT))
    assert {"demo", "test"} <= mentioned <= targets


def test_extras_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for command in COMMANDS:
        if command.startswith("pip "):
            assert re.fullmatch(r'pip install "?\.(\[[a-z,-]+\])?"?', command), command
            wanted = re.findall(r"\[(.*)\]", command)
            assert set(",".join(wanted).split(",")) - {""} <= set(project["optional-dependencies"]), command


def test_place_for_the_speed_figures_is_marked() -> None:
    assert TEXT.count("<!-- speed figures -->") == 1


def test_main_job(deployed: Path) -> None:
    report = json.loads((deployed / "report.json").read_text(encoding="utf-8"))
    states = {(row["target"], row["precision"]): row["state"] for row in report["artifacts"]}
    assert states == {("onnx", "fp32"): "verified", ("openvino", "fp32"): "verified"}
    assert (deployed / "report.html").stat().st_size > 1000


def _missing(command: str) -> str:
    """Say what a command needs that not every platform has."""
    from fdikp_edge.export.targets import TARGETS, capability

    names = [target for target in ("tensorrt-rtx",) if target in command]
    abilities = [capability(TARGETS[name]) for name in names]
    return "; ".join(here.reason for here in abilities if not here.can_build)


@pytest.mark.parametrize("command", [command for command in OURS if command != BUNDLE])
def test_command(command: str, deployed: Path, readme: Any) -> None:
    if missing := _missing(command):
        pytest.skip(missing)
    done = readme.shell(command)
    if processor.saturates() and done.returncode == 1 and command.startswith("fdikp-edge deploy"):
        # INT8 for OpenVINO misses its budget here: the report must say why, and what to build instead.
        folder = readme.folder / shlex.split(command)[shlex.split(command).index("--out") + 1]
        rows = json.loads((folder / "report.json").read_text(encoding="utf-8"))["artifacts"]
        failed = [row for row in rows if row["state"] == "failed"]
        assert {(row["target"], row["precision"]) for row in failed} == {("openvino", "int8")}
        assert all("--target openvino:weights=7bit" in row["reason"] for row in failed)
        return
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip()


@pytest.fixture(scope="module")
def bundled(deployed: Path, readme: Any) -> None:
    """Make the bundle of docs/jetson.md, whether or not its own test ran before."""
    if not (readme.folder / "model.bundle").exists():
        done = readme.shell(BUNDLE)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command", ON_DEVICE)
def test_device_command(command: str, bundled: None, readme: Any) -> None:
    done = readme.shell(command)
    if command == BUILD and importlib.util.find_spec("tensorrt") is None:
        assert done.returncode == 2 and "the Python module tensorrt is not installed" in done.stderr
        return
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("number", range(sum(kind == "python" for kind, _ in BLOCKS)))
def test_program(number: int, deployed: Path, readme: Any) -> None:
    program = readme.folder / f"program{number}.py"
    program.write_text(readme.programs[number], encoding="utf-8")
    done = readme.shell(f"python {program.name}")
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_extra_has_a_row_with_its_size() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| [^|]+ \| ([^|]*) ?\|$", readme, re.MULTILINE))
    assert set(project["optional-dependencies"]) <= set(rows)
    for extra, size in rows.items():
        if extra in project["optional-dependencies"] and extra != "all":
            assert re.search(r"\d+ MB|not measured", size), extra


def test_the_route_without_make_is_that_of_the_demo_and_of_the_workflow() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    route = readme.split("**Instead of `make`**")[1].split("```")[1]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    workflow = (ROOT / ".github" / "workflows" / "systems.yml").read_text(encoding="utf-8")
    photo = "runtime/samples/astronaut-defocused.jpg"
    for text in (route, makefile, workflow):
        assert photo in text and re.search(
            r"fdikp-edge deploy --model tiny --target onnx --target openvino", text
        )
    assert (ROOT / photo).is_file()
    (extras,) = re.findall(r'install -c constraints.txt "\.\[(.*)\]"', route)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(extras.split(",")) <= set(project["optional-dependencies"])


def test_what_has_not_run_is_said() -> None:
    workflow = (ROOT / ".github" / "workflows" / "systems.yml").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    unrun = "not run yet" in workflow
    assert unrun == ("have not run yet" in readme)
    for system in ("ubuntu-24.04-arm", "macos-latest", "windows-latest"):
        assert system in workflow
