"""A folder of buckets appears whole or not at all, and replaces nothing but another one."""

from __future__ import annotations

from pathlib import Path

import pytest
from fdikp_edge.runtime.buckets.write import writing_buckets
from fdikp_edge.runtime.errors import OutputError, OutputExistsError


def content(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def fill(folder: Path, *sizes: str) -> None:
    for size in sizes:
        (folder / size).mkdir(parents=True)
        (folder / size / "passport.json").write_text("{}")


def test_all_sizes_appear_together(tmp_path: Path) -> None:
    with writing_buckets(tmp_path / "new" / "net") as folder:
        fill(folder, "32x32", "64x64")
        assert content(tmp_path / "new" / "net") == []
    assert content(tmp_path) == ["new/net/32x32/passport.json", "new/net/64x64/passport.json"]


def test_an_error_midway_leaves_what_was_there(tmp_path: Path) -> None:
    fill(tmp_path / "net", "32x32")
    for dest in (tmp_path / "net", tmp_path / "new" / "net"):
        with pytest.raises(KeyboardInterrupt), writing_buckets(dest, overwrite=True) as folder:
            fill(folder, "64x64")
            raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["net"]
    assert content(tmp_path) == ["net/32x32/passport.json"]


def test_overwriting_keeps_no_older_size(tmp_path: Path) -> None:
    fill(tmp_path / "net", "32x32", "64x64")
    (tmp_path / "net" / "64x64.worst.png").write_bytes(b"")
    with pytest.raises(OutputExistsError, match="exists already"), writing_buckets(tmp_path / "net"):
        pass
    with writing_buckets(tmp_path / "net", overwrite=True):
        pass  # only asked whether it may be written
    assert len(content(tmp_path)) == 3
    with writing_buckets(tmp_path / "net", overwrite=True) as folder:
        fill(folder, "96x96")
    assert content(tmp_path) == ["net/96x96/passport.json"]


@pytest.mark.parametrize(
    "other", ["mine.txt", "32x32/deep/mine.txt", "artifact/passport.json", "32x48/a.png"]
)
def test_any_other_folder_is_left_alone(other: str, tmp_path: Path) -> None:
    if other.startswith("artifact"):
        fill(tmp_path / "net", "32x32")
    (tmp_path / "net" / other).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "net" / other).write_text("mine")
    before = content(tmp_path)
    with (
        pytest.raises(OutputError, match="holds more than"),
        writing_buckets(tmp_path / "net", overwrite=True),
    ):
        pytest.fail("the work must not begin")
    assert content(tmp_path) == before


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    fill(tmp_path / "elsewhere", "32x32")
    (tmp_path / "net").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="in the way"), writing_buckets(tmp_path / "net", overwrite=True):
        pass
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="in the way"), writing_buckets(tmp_path / "file", overwrite=True):
        pass
