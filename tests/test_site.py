"""The documentation site: every page is in it, every name of the API exists, and no link is broken."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_site", ROOT / "docs" / "build_site.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def config() -> str:
    return (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


def test_every_page_is_in_the_navigation(script: ModuleType, tmp_path: Path) -> None:
    pages = {page.as_posix() for page in script.gather(tmp_path)}
    nav = set(re.findall(r"^ +- [^:]+: (\S+\.md)$", config(), re.MULTILINE))
    assert pages == nav


def test_gathered_links_lead_to_gathered_files(script: ModuleType, tmp_path: Path) -> None:
    pages = script.gather(tmp_path)
    links = 0
    for page in pages:
        text = re.sub(r"^```.*?^```$", "", (tmp_path / page).read_text(), flags=re.MULTILINE | re.DOTALL)
        for address in re.findall(r"\]\(([^)\s#]+)", text):
            if not re.match(r"[a-z]+:", address):
                links += 1
                assert ((tmp_path / page).parent / address).is_file(), f"{page}: {address}"
    assert links > 50


def test_a_link_to_nothing_is_an_error(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "page.md").write_text("[x](missing.md)\n")
    monkeypatch.setattr(script, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match=r"page.md: links to missing.md"):
        script.gather(tmp_path / "site")


def test_every_name_of_the_api_page_exists() -> None:
    names = re.findall(r"^::: (\S+)$", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(names) > 15
    for name in names:
        module, _, attribute = name.rpartition(".")
        home = importlib.import_module(module)
        held = getattr(home, attribute, None) or importlib.import_module(name)
        assert held.__doc__, name


def test_the_api_page_has_the_public_names() -> None:
    versions = (ROOT / "docs" / "versions.md").read_text(encoding="utf-8").split("## What is public")[1]
    api = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    for name in re.findall(r"`(?:[a-z_.]+\.)?(\w+)`", versions.split("- The formats")[0]):
        if name not in ("__all__", "errors", "export"):
            assert re.search(rf"\.{name}$", api, re.MULTILINE), name


def test_what_the_workflow_installs_is_what_the_site_names() -> None:
    wanted = (ROOT / "docs" / "requirements.txt").read_text(encoding="utf-8")
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "docs.yml").read_text(encoding="utf-8"))
    runs = [step.get("run", "") for step in workflow["jobs"]["site"]["steps"]]
    assert "python docs/build_site.py" in runs and any("docs/requirements.txt" in run for run in runs)
    assert "mkdocs-material==" in wanted and "mkdocstrings-python==" in wanted


@pytest.mark.skipif(
    importlib.util.find_spec("mkdocstrings") is None, reason="docs/requirements.txt is not installed"
)
def test_the_site_is_built_without_a_broken_link() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "build_site.py")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
