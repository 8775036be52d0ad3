"""Everything that the pages point to exists: files, headings, modules, options of commands."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    {
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(path for room in ("runtime", "models") for path in (ROOT / room).rglob("*.md")),
    }
)
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def links(text: str) -> list[str]:
    """The targets of all links and images outside code blocks."""
    return re.findall(r"\]\(([^)\s]+)\)", _FENCE.sub("", text))


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    slugs: dict[str, int] = {}
    result = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *$", _FENCE.sub("", text), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        count = slugs[slug] = slugs.get(slug, -1) + 1
        result.add(f"{slug}-{count}" if count else slug)
    return result


def problem(page: Path, link: str) -> str | None:
    """Say what is wrong with a relative link of a page, ``None`` if it resolves."""
    file, _, anchor = link.partition("#")
    target = (page.parent / file).resolve() if file else page
    if not target.is_relative_to(ROOT):
        return f"{link} leaves the repository"
    if not target.exists():
        return f"{link}: no such file"
    if anchor and anchor not in anchors(target.read_text(encoding="utf-8")):
        return f"{link}: no such heading"
    return None


def test_the_pages_are_found() -> None:
    assert {"README.md", "docs/glossary.md", "docs/studies/precision.md", "models/weights/tiny.md"} <= {
        name(page) for page in PAGES
    }


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_relative_links_resolve(page: Path) -> None:
    relative = [link for link in links(page.read_text(encoding="utf-8")) if "://" not in link]
    problems = [problem(page, link) for link in relative if not link.startswith("mailto:")]
    assert not [text for text in problems if text]


@pytest.mark.parametrize(
    ("link", "wrong"),
    [
        ("gone.md", "no such file"),
        ("README.md#gone", "no such heading"),
        ("../../outside.md", "leaves the repository"),
        ("README.md#trained-weights", None),
        ("#your-own-torchfft-network", None),
    ],
)
def test_wrong_links_are_noticed(link: str, wrong: str | None) -> None:
    message = problem(ROOT / "README.md", link)
    assert message is None if wrong is None else wrong in (message or "")


def test_headings_of_the_same_name_are_numbered() -> None:
    assert anchors("# A\n\n## B, `c`\n\n# A\n```\n# no heading\n```\n") == {"a", "b-c", "a-1"}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_modules_that_a_page_runs_exist(page: Path) -> None:
    modules = re.findall(r"python -m (fdikp_edge[\w.]*)", page.read_text(encoding="utf-8"))
    assert not [module for module in modules if not _has_module(module)]


def _has_module(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of a package above it
        return False


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_that_a_page_names_exist(page: Path) -> None:
    # A path from the root of the tree; NAME stands for a new target's.
    rooms = "runtime|models|calibration|export|benchmarks|cli|tests|docs"
    paths = re.findall(rf"`((?:{rooms})/[\w./-]+?)/?`", page.read_text(encoding="utf-8"))
    assert not [path for path in paths if "NAME" not in path and not (ROOT / path).exists()]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_options_that_a_page_names_exist(page: Path) -> None:
    from fdikp_edge.cli.main import app
    from typer.main import get_command

    group = get_command(app)
    missing = []
    for line in re.findall(r"^(?:python3 )?fdikp-edge .*$", page.read_text(encoding="utf-8"), re.MULTILINE):
        words = shlex.split(line, comments=True)[1:]
        command = group
        while words and hasattr(command, "commands") and words[0] in command.commands:
            command = command.commands[words.pop(0)]
        known = {
            option for parameter in command.params for option in parameter.opts + parameter.secondary_opts
        }
        missing += [f"{line}: {word}" for word in words if word.startswith("--") and word not in known]
    assert not missing
