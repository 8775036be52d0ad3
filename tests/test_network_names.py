"""The rooms that serve any network name none: there ``fdikp`` stands only in the name of the package."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OWN_NAME = re.compile(r"fdikp[-_]?edge", re.IGNORECASE)
TEXT = (".py", ".md", ".j2", ".css", ".js", ".txt", ".cpp", ".cu", ".h", "")


def naming_the_network(text: str) -> list[str]:
    """Return the lines that name the network."""
    return [line for line in text.splitlines() if "fdikp" in OWN_NAME.sub("", line).lower()]


@pytest.mark.parametrize("room", ["export", "benchmarks", "calibration", "runtime"])
def test_no_general_room_names_the_network(room: str) -> None:
    paths = [path for path in sorted((ROOT / room).rglob("*")) if path.is_file() and path.suffix in TEXT]
    assert len(paths) > 10
    lines = {path.relative_to(ROOT).as_posix(): naming_the_network(path.read_text("utf-8")) for path in paths}
    assert not {name: named for name, named in lines.items() if named}


def test_the_packages_name_is_told_from_the_networks() -> None:
    assert naming_the_network("class FdikpEdgeError; fdikp_edge.export; fdikp-edge; FDIKP_EDGE_CACHE") == []
    assert naming_the_network("from fdikp_edge.models.fdikp import x") != []
    assert naming_the_network('prefix="fdikp-cache-"') != []
