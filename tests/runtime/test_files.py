from __future__ import annotations

from pathlib import Path

import pytest
from fdikp_edge.runtime.errors import OutputError
from fdikp_edge.runtime.files import check_place


def test_a_place_is_checked_before_the_work_and_nothing_is_made(tmp_path: Path) -> None:
    there = tmp_path / "there.json"
    there.write_text("old")
    check_place(tmp_path / "new" / "folder" / "x.json")
    check_place(there, overwrite=True)
    for path, overwrite, reason in (
        (there, False, "exists already.*overwrite"),
        (tmp_path, True, "is a folder"),
        (there / "x.json", True, "a part of the path is a file"),
        (Path("/proc/nowhere/x.json"), True, "cannot be written"),
    ):
        if path.parts[1:2] == ("proc",) and not Path("/proc").is_dir():
            continue
        with pytest.raises(OutputError, match=reason):
            check_place(path, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["there.json"] and there.read_text() == "old"
