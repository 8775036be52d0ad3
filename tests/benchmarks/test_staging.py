"""Results appear in a folder all at once, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from fdikp_edge.benchmarks.staging import staged
from fdikp_edge.runtime.errors import OutputError


def content(folder: Path) -> dict[str, str]:
    """Every entry below a folder; a file with its text."""
    return {
        str(path.relative_to(folder)): path.read_text() if path.is_file() else "/"
        for path in sorted(folder.rglob("*"))
    }


def test_everything_appears_together(tmp_path: Path) -> None:
    with staged(tmp_path, overwrite=False) as stage:
        (stage.folder / "a").mkdir()
        (stage.folder / "a" / "model").write_text("1")
        (stage.folder / "report.json").write_text("2")
        assert not (tmp_path / "report.json").exists()
        stage.reserve("a", "report.json")
        stage.publish()
    assert content(tmp_path) == {"a": "/", "a/model": "1", "report.json": "2"}


def test_what_is_not_published_goes_away(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with staged(tmp_path, overwrite=True) as stage:
        (stage.folder / "report.json").write_text("2")
    with pytest.raises(KeyboardInterrupt), staged(tmp_path, overwrite=True) as stage:
        (stage.folder / "report.json").write_text("2")
        raise KeyboardInterrupt
    assert content(tmp_path) == {"mine": "mine"}


def test_what_was_there_is_replaced_whole(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "passport.json").write_text("old")
    (tmp_path / "mine").write_text("mine")
    with staged(tmp_path, overwrite=True) as stage:
        (stage.folder / "a").mkdir()
        (stage.folder / "a" / "model").write_text("new")
        stage.reserve("a")
        stage.publish()
    assert content(tmp_path) == {"a": "/", "a/model": "new", "mine": "mine"}


@pytest.mark.parametrize("stopped", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_stopped_midway_it_is_all_undone(
    stopped: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(f"old {name}")
    before = content(tmp_path)
    with pytest.raises((OutputError, KeyboardInterrupt)), staged(tmp_path, overwrite=True) as stage:
        for name in ("a", "b", "c"):
            (stage.folder / name).write_text(f"new {name}")
        honest = Path.rename

        def rename(self: Path, to: Path) -> Path:
            # `a` is in its place and the old `b` has stepped aside when the disk gives out.
            if self == stage.folder / "b":
                assert (tmp_path / "a").read_text() == "new a"
                raise stopped
            return honest(self, to)

        monkeypatch.setattr(Path, "rename", rename)
        stage.publish()
    assert content(tmp_path) == before


def test_names_that_are_taken(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("old")
    with staged(tmp_path, overwrite=False) as stage, pytest.raises(OutputError, match="exists already"):
        stage.reserve("other", "report.json")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("mine")
    with staged(tmp_path, overwrite=True) as stage:
        stage.reserve("report.json")
        with pytest.raises(OutputError, match="photos"):
            stage.reserve("photos")


@pytest.mark.parametrize("name", ["passport.json", "picture.png", "64x64/passport.json"])
def test_folders_of_earlier_runs_may_be_replaced(name: str, tmp_path: Path) -> None:
    (tmp_path / "old" / name).parent.mkdir(parents=True)
    (tmp_path / "old" / name).write_text("old")
    with staged(tmp_path, overwrite=True) as stage:
        stage.reserve("old")


def test_a_link_is_never_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "cat.jpg").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").symlink_to(tmp_path / "elsewhere")
    with staged(tmp_path / "out", overwrite=True) as stage:
        (stage.folder / "a").write_text("new")
        stage.reserve("a")
        stage.publish()
    assert not (tmp_path / "out" / "a").is_symlink()
    assert (tmp_path / "elsewhere" / "cat.jpg").read_text() == "mine"


def test_no_place_to_write(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"), staged(tmp_path / "none", overwrite=False):
        pass
