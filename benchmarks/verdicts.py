"""A gate's verdict in the words of build servers: JUnit XML, and annotations of GitHub Actions."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

from ..runtime.files import replacing
from ..runtime.strict_json import printable
from .checks import Check
from .gate import Verdict

_LEVELS = {"failed": "error", "undecided": "warning"}


def junit(verdict: Verdict) -> bytes:
    """Return the verdict as JUnit XML: a test case per check, its class the artifact."""
    counts = Counter(check.outcome for check in verdict.checks)
    suite = ElementTree.Element(
        "testsuite",
        name="fdikp-edge gate",
        tests=str(len(verdict.checks)),
        failures=str(counts["failed"]),
        errors="0",
        skipped=str(counts["skipped"] + counts["undecided"]),
    )
    for check in verdict.checks:
        case = ElementTree.SubElement(suite, "testcase", classname=_plain(check.artifact), name=check.name)
        if check.outcome == "failed":
            ElementTree.SubElement(case, "failure", message=_plain(check.message))
        elif check.outcome == "passed":
            ElementTree.SubElement(case, "system-out").text = _plain(check.message)
        else:
            ElementTree.SubElement(case, "skipped", message=_plain(f"{check.outcome}: {check.message}"))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    data: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return data + b"\n"


def write_junit(verdict: Verdict, path: Path) -> None:
    """Write :func:`junit` to a file, whole or not at all; raises ``OutputError``."""
    with replacing(path) as temporary:
        temporary.write_bytes(junit(verdict))


def github_lines(verdict: Verdict) -> list[str]:
    """Return a line for GitHub Actions for each check that failed or could not be decided."""
    return [
        _annotation(check, _LEVELS[check.outcome]) for check in verdict.checks if check.outcome in _LEVELS
    ]


def _annotation(check: Check, level: str) -> str:
    title = _escaped(f"{check.artifact}: {check.name}").replace(":", "%3A").replace(",", "%2C")
    return f"::{level} title={title}::{_escaped(check.message)}"


def _escaped(text: str) -> str:
    return printable(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _plain(text: str) -> str:
    """Return text without what XML 1.0 has no way to say."""
    return "".join(c for c in printable(text) if c not in "\ufffe\uffff")
