"""The tree says things in plain engineering English: phrases that were replaced do not come back."""

from __future__ import annotations

import ast
import functools
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PHRASES = (
    "thinks in frequencies",
    "# The house",
    "said plainly",
    "Print the version and leave",
    "Take the ranges that fp16 and int8 builds need",
    "int8 layers back to floats",
    "this is all that is lost",
    "hard pictures lose most",
    "Stop then, whatever is",
    "Least time they take together",
    "Between two looks at",
    "told by no source",
    "others than the baseline",
    "what the network does, within budget",
    "dB asked",
    "row.least }} asked",
    "same constants to the bit",
    "faster than eager, exporter",
    "option that a target has not",
    "option that the target has not",
    "nobody says any",
    "computes it wider",
    "told (done",
    "for want of memory",
    "white being 1",
    "May this be released",
)
"""Replaced everywhere; letter case and line breaks do not matter."""
OPTIONS = ("--sturdy", "--most-seconds")
"""Old names of options: the code still accepts them, pages and templates use the new ones."""
TERMS = (
    *("lowering", "eager", "golden output", "image contract", "site", "strategy", "plan", "halo", "soak"),
    *("conforming run", "passport", "census", "island", "MIL", "DIKP", "PAC", "DSRM", "half spectrum"),
    *("twiddle", "calibration range", "zero point", "execution provider", "tile", "budget", "baseline"),
    *("parity", "target", "program", "artifact", "bundle", "reference"),
)
"""Words that a newcomer meets, each a row of the glossary."""
_PAGES = (".md", ".j2")


def plain(text: str) -> str:
    """Text in small letters with its lines, comments and adjacent string literals joined."""
    joined = re.sub(r"[\"']\s*\n\s*[rbf]{0,2}[\"']", "", text)
    joined = re.sub(r"\n[ \t]*(?:#:?|//|>)[ \t]+", " ", joined)
    return re.sub(r"\s+", " ", joined).casefold()


@functools.cache
def tree() -> dict[str, str]:
    """The tracked text files but this one, in the form that `plain` gives them."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout, to know which files belong to the tree")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    files = [ROOT / name for name in listed.split("\0") if name]
    result = {}
    for file in files:
        if file == Path(__file__).resolve() or not file.is_file():
            continue
        raw = file.read_bytes()
        if b"\0" in raw[:8192]:
            continue  # a photo, weights
        try:
            result[file.relative_to(ROOT).as_posix()] = plain(raw.decode("utf-8"))
        except UnicodeDecodeError:
            continue
    return result


def files_with(phrase: str, *suffixes: str) -> list[str]:
    """Files of the tree in which a phrase occurs; those that end in one of the suffixes, if any is given."""
    wanted = plain(phrase)
    return [
        name for name, text in tree().items() if wanted in text and (not suffixes or name.endswith(suffixes))
    ]


def test_the_search_sees_the_tree() -> None:
    assert {"README.md", "docs/glossary.md", "tests/conftest.py"} <= set(tree())
    assert "README.md" in files_with("FREQUENCY-DOMAIN   deblurring network")
    assert files_with("fdikp-edge", ".j2") and not files_with("fdikp-edge", ".no-such-suffix")


@pytest.mark.parametrize(
    "text",
    [
        "all for Want of\n    memory, as it were",
        '("failed for want "\n        f"of memory")',
        "# failed for want of\n# memory",
        "#: failed for want\n#: of memory",
        "> for want\n> of memory",
    ],
)
def test_a_phrase_is_found_across_lines(text: str) -> None:
    assert "for want of memory" in plain(text)


@pytest.mark.parametrize("phrase", PHRASES)
def test_replaced_phrases_are_gone(phrase: str) -> None:
    assert files_with(phrase) == []


@pytest.mark.parametrize("option", OPTIONS)
def test_pages_use_the_new_names_of_options(option: str) -> None:
    assert [name for name in files_with(option, *_PAGES) if name != "CHANGELOG.md"] == []


def test_the_glossary_explains_what_a_newcomer_meets() -> None:
    page = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    explained = re.findall(r"^\| ([^|]+) \| [^|]{20,} \|$", page, re.MULTILINE)
    assert set(TERMS) <= set(explained)
    assert len(explained) == len(set(explained))
    assert "](docs/glossary.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


NAMES = {"made", "found", "said"}
"""Names that do not say what they hold."""
_FIELDS = ("id", "attr", "arg", "name", "asname")
"""Where nodes of a syntax tree keep names."""


def empty_names(source: str) -> list[tuple[int, str]]:
    """Lines of a Python file where one of :data:`NAMES` names a variable, parameter, attribute or function.

    A word in a text or comment is English, and a name of several words says more than the word alone.
    """
    nodes = [node for node in ast.walk(ast.parse(source)) if hasattr(node, "lineno")]
    named = [(node.lineno, getattr(node, field, None)) for node in nodes for field in _FIELDS]
    return sorted((line, name) for line, name in named if isinstance(name, str) and name.strip("_") in NAMES)


@pytest.mark.parametrize(
    "source",
    [
        "found = 1",
        "def f(said): ...",
        "def f(*, made=1): ...",
        "class A:\n    found: int",
        "for said in x: ...",
        "print(f'{found}')",
        "self._made = 1",
        "f(said=1)",
        "import x as made",
        "def found(): ...",
        "[found for found in x]",
        "with x as said: ...",
        "match x:\n    case [made, *_]: ...",
    ],
)
def test_an_empty_name_is_noticed(source: str) -> None:
    assert empty_names(source)


def test_an_english_word_is_no_name() -> None:
    assert empty_names('"""What was found."""\nfound_it = f"said {x}"  # made\ny["made"] = 1') == []


def test_every_name_says_what_it_holds() -> None:
    sources = [ROOT / name for name in tree() if name.endswith(".py")]
    assert len(sources) > 300
    offenders = {
        str(file.relative_to(ROOT)): names
        for file in sources
        if (names := empty_names(file.read_text(encoding="utf-8")))
    }
    assert offenders == {}
