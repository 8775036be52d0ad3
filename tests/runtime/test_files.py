from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

import pytest
from fdikp_edge.runtime.errors import OutputError, OutputExistsError
from fdikp_edge.runtime.files import check_place, replacing


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


def test_a_new_file_replaces_nothing_that_came_into_being_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with pytest.raises(OutputExistsError, match="meanwhile"), replacing(path, new=True) as temporary:
        temporary.write_text("mine")
        path.write_text("yours")
    assert path.read_text() == "yours" and list(tmp_path.iterdir()) == [path]
    path.unlink()
    with replacing(path, new=True) as temporary:
        temporary.write_text("mine")
    assert path.read_text() == "mine" and list(tmp_path.iterdir()) == [path]


def test_a_new_file_where_links_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "a.txt"
    for text in ("first", "second"):
        with contextlib.suppress(OutputExistsError), replacing(path, new=True) as temporary:
            temporary.write_text(text)
    assert path.read_text() == "first" and list(tmp_path.iterdir()) == [path]
