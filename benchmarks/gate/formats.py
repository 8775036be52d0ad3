"""A gate's verdict in the words of build servers: JUnit XML, and annotations of GitHub Actions."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

from ...runtime.errors import FdikpEdgeError
from ...runtime.files import replacing
from ...runtime.strict_json import printable
from .gate import Verdict

_LEVELS = {"failed": "error", "undecided": "warning"}


_NAME = "fdikp-edge gate"


def junit(verdict: Verdict | FdikpEdgeError) -> bytes:
    """Return the verdict as JUnit XML: a test case per check, its class the artifact.

    Where there is no verdict, the error that was in the way of one: a single test case with an error.
    """
    checks = [] if isinstance(verdict, FdikpEdgeError) else verdict.checks
    counts = Counter(check.outcome for check in checks)
    errors = int(isinstance(verdict, FdikpEdgeError))
    suite = ElementTree.Element(
        "testsuite",
        name=_NAME,
        tests=str(len(checks) + errors),
        failures=str(counts["failed"]),
        errors=str(errors),
        skipped=str(counts["skipped"] + counts["undecided"]),
    )
    if isinstance(verdict, FdikpEdgeError):
        case = ElementTree.SubElement(suite, "testcase", classname=_NAME, name="input")
        kind = type(verdict).__name__
        ElementTree.SubElement(case, "error", type=kind, message=_plain(str(verdict)))
    for check in checks:
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


def write_junit(verdict: Verdict | FdikpEdgeError, path: Path) -> None:
    """Write :func:`junit` to a file, whole or not at all; raises ``OutputError``."""
    with replacing(path) as temporary:
        temporary.write_bytes(junit(verdict))


def github_lines(verdict: Verdict | FdikpEdgeError) -> list[str]:
    """Return a line for GitHub Actions for what failed, was not decided, or was in the way."""
    if isinstance(verdict, FdikpEdgeError):
        return [_annotation("error", _NAME, str(verdict))]
    return [
        _annotation(_LEVELS[check.outcome], f"{check.artifact}: {check.name}", check.message)
        for check in verdict.checks
        if check.outcome in _LEVELS
    ]


def _annotation(level: str, title: str, message: str) -> str:
    title = _escaped(title).replace(":", "%3A").replace(",", "%2C")
    return f"::{level} title={title}::{_escaped(message)}"


def _escaped(text: str) -> str:
    return printable(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _plain(text: str) -> str:
    """Return text without what XML 1.0 has no way to say."""
    return "".join(c for c in printable(text) if c not in "\ufffe\uffff")
