"""The files around the code: they parse, agree with each other, and name what exists."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from fdikp_edge.benchmarks.gate import baseline
from fdikp_edge.calibration import table
from fdikp_edge.models import zoo
from fdikp_edge.runtime import passport
from fdikp_edge.runtime.device import entry

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FORMS = sorted(path.name for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def parsed(name: str) -> Any:
    return yaml.safe_load(text(name))


# CITATION.cff


def test_citation_has_what_its_format_requires() -> None:
    citation = parsed("CITATION.cff")
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software"
    assert {"message", "title", "authors"} <= set(citation) and citation["authors"]
    assert citation["license"] == PROJECT["license"] and citation["keywords"] == PROJECT["keywords"]


def test_citation_is_of_this_version() -> None:
    assert str(parsed("CITATION.cff")["version"]) == PROJECT["version"]


def test_citation_names_the_paper_of_the_readme() -> None:
    (paper,) = parsed("CITATION.cff")["references"]
    (identifier,) = re.findall(r"arXiv:\d{4}\.\d{5}", paper["identifiers"][0]["value"])
    assert identifier in text("README.md") and paper["title"] in " ".join(text("README.md").split())
    assert paper["url"] == PROJECT["urls"]["Paper"] and paper["url"].endswith(
        identifier.removeprefix("arXiv:")
    )


# CHANGELOG.md


def test_changelog_begins_with_what_is_not_released() -> None:
    headings = re.findall(r"^## (.*)$", text("CHANGELOG.md"), re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", heading) for heading in headings[1:])
    assert PROJECT["version"] in text("CHANGELOG.md")


def test_changelog_uses_the_kinds_of_its_form() -> None:
    kinds = set(re.findall(r"^### (.*)$", text("CHANGELOG.md"), re.MULTILINE))
    assert kinds and kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


# CONTRIBUTING.md


def named_in_contributing() -> list[str]:
    """Every file or folder in backquotes: it has a slash or a suffix, and no spaces."""
    names = re.findall(r"`(\.?[\w-][\w./-]*)`", text("CONTRIBUTING.md"))
    suffixes = (".py", ".md", ".toml", ".txt", ".yml", ".yaml", ".safetensors")
    return sorted({name for name in names if "/" in name or name.endswith(suffixes)})


@pytest.mark.parametrize("name", named_in_contributing())
def test_what_contributing_names_exists(name: str) -> None:
    folders = (ROOT, ROOT / "export/spectral/rules")  # the files of rules are listed after their folder
    written_by_make = {".venv", "build/site"}
    assert any((folder / name).exists() for folder in folders) or name in written_by_make


def test_contributing_names_every_folder() -> None:
    rooms = {path.parent.name + "/" for path in ROOT.glob("*/py.typed")}
    assert len(rooms) >= 7 and rooms <= set(named_in_contributing())


def test_contributing_says_which_folder_may_import_which() -> None:
    source = text("tests/test_imports.py")
    rows = re.findall(r"^\| `(\w+)/` \| .* \| ([^|]+) \|$", text("CONTRIBUTING.md"), re.MULTILINE)
    assert len(rows) == 6
    for room, cell in rows:
        (allowed,) = re.findall(rf'"{room}": (set\(\)|{{[^}}]*}})', source)
        wanted = set(re.findall(r'"(\w+)"', allowed))
        others = {name for name, _ in rows} - {room}
        assert (others if cell == "all" else set(re.findall(r"`(\w+)/`", cell))) == wanted, room


def test_make_targets_in_contributing_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):.*##", text("Makefile"), re.MULTILINE))
    wanted = set(
        re.findall(
            r"make ([a-z]+)", "\n".join(re.findall(r"```shell\n(.*?)```", text("CONTRIBUTING.md"), re.S))
        )
    )
    assert wanted == {"venv", "lint", "test"} and wanted <= targets


# docs/versions.md


def test_version_policy_has_the_formats_as_they_are() -> None:
    rows = dict(
        re.findall(r"^\| ([^|]+) \| (\d+) \| [^|]+ \| [^|]+ \|$", text("docs/versions.md"), re.MULTILINE)
    )
    assert rows == {
        "passport of an artifact": str(passport.FORMAT_VERSION),
        "calibration table": str(table.VERSION),
        "bundle for a device": str(entry.VERSION),
        "gate baseline": str(baseline.FORMAT_VERSION),
        "weights of FDIKP": zoo.FORMAT,
    }


# The forms of .github, the hooks, .gitignore


@pytest.mark.parametrize("name", FORMS)
def test_issue_forms_have_what_their_format_requires(name: str) -> None:
    form = parsed(f".github/ISSUE_TEMPLATE/{name}")
    assert {"name", "description", "body"} <= set(form)
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert fields and all(field["attributes"]["label"] for field in fields)
    identifiers = [field["id"] for field in fields]
    assert len(identifiers) == len(set(identifiers))
    assert {field["type"] for field in form["body"]} <= {"markdown", "textarea", "input", "checkboxes"}


def test_bug_reports_ask_for_doctor() -> None:
    assert FORMS == ["bug.yml", "network.yml", "target.yml"]
    for name in ("bug.yml", "network.yml"):
        (field,) = [f for f in parsed(f".github/ISSUE_TEMPLATE/{name}")["body"] if f.get("id") == "doctor"]
        assert "fdikp-edge doctor --json" in field["attributes"]["label"]
        assert field["validations"]["required"] is True


def test_hooks_are_local_and_are_the_checks_of_make_lint() -> None:
    (repository,) = parsed(".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    assert all(hook["language"] == "system" for hook in repository["hooks"])
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", text("Makefile"), re.MULTILINE)
    assert lint is not None
    checks = [line.strip().removeprefix("@") for line in lint[1].splitlines()]
    wanted = [check.replace("$(BIN)", ".venv/bin").removesuffix(" .") for check in checks]
    wanted = [check.replace("$(MAKE) --no-print-directory", "make") for check in wanted]
    assert [hook["entry"].removesuffix(" --force-exclude") for hook in repository["hooks"]] == wanted


@pytest.mark.parametrize("command", ["deploy", "export"])
def test_the_default_output_folder_is_ignored(command: str) -> None:
    from fdikp_edge.cli.main import app
    from typer.main import get_command

    group: Any = get_command(app)
    (out,) = [parameter for parameter in group.commands[command].params if parameter.name == "out"]
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout")
    done = subprocess.run(["git", "check-ignore", "-q", f"{out.default}/report.json"], cwd=ROOT)
    assert done.returncode == 0
