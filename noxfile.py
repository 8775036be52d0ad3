"""The test matrix: oldest and newest supported libraries, and each supported Python. Not part of `make test`.

    pipx run nox -s oldest-3.11        # the oldest versions that pyproject.toml allows
    python noxfile.py                  # print the matrix

`oldest` installs the lowest version that each requirement of pyproject.toml names, `newest` those of
constraints.txt. An interpreter that is not installed is skipped by nox, which says so.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
EXTRAS = ("export", "openvino", "report", "sign")
TESTS = (
    "tests/runtime",
    "tests/cli/test_deblur.py",
    "tests/cli/test_inspect.py",
    "tests/cli/test_signature.py",
)
TOOLS = ("pytest", "pytest-xdist", "hypothesis", "expecttest", "psutil", "pyyaml", "setuptools")

_REQUIREMENT = re.compile(r"([A-Za-z0-9-]+)>=([0-9.]+)(?:\s*;\s*(.*))?")


def oldest() -> dict[str, str]:
    """Return package -> the lowest version that pyproject.toml allows, for the base and :data:`EXTRAS`."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"]]
    for extra in EXTRAS:
        lines += project["optional-dependencies"][extra]
    matches = (_REQUIREMENT.fullmatch(line.strip()) for line in lines)
    return {
        match[1]: match[2] for match in matches if match and not (match[3] and "python_version" in match[3])
    }


def newest() -> dict[str, list[str]]:
    """Return package -> the versions in constraints.txt; some have an older one there for Python 3.10."""
    versions: dict[str, list[str]] = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        name, equals, rest = line.partition("==")
        if equals and not line.startswith("#"):
            versions.setdefault(name.strip(), []).append(rest.split(";")[0].strip())
    return versions


def matrix() -> str:
    """Return the matrix as a Markdown table."""
    new = newest()
    rows = [
        f"| {name} | {version} | {', '.join(new.get(name, ['']))} |" for name, version in oldest().items()
    ]
    return "\n".join(["| package | oldest | newest |", "|---|---|---|", *rows])


def _check(session: Any, *arguments: str) -> None:
    session.install("--upgrade", *arguments)
    session.install("--no-deps", ".")
    session.run("python", "-m", "pip", "list")
    session.run(
        "python", "-m", "pytest", "-n", "0", *(session.posargs or TESTS), env={"OMP_NUM_THREADS": "1"}
    )


try:
    import nox
except ImportError:  # the matrix can be printed without it
    pass
else:
    nox.options.sessions = ["oldest", "newest"]

    @nox.session(python=list(PYTHONS), name="oldest")
    def oldest_versions(session: Any) -> None:
        """Run the tests of runtime and sessions with the oldest versions."""
        lowest = (version if "." in version else f"{version}.0" for version in oldest().values())
        _check(session, *map("{}=={}.*".format, oldest(), lowest), *TOOLS)

    @nox.session(python=list(PYTHONS), name="newest")
    def newest_versions(session: Any) -> None:
        """Run the same tests with the versions of constraints.txt."""
        _check(session, "-c", "constraints.txt", *oldest(), *TOOLS)


if __name__ == "__main__":
    print(matrix())
