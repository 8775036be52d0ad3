"""The manifest survives being cut anywhere, and refuses what no run wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fdikp_edge.runtime.albums.manifest import MANIFEST_NAME, MAX_LINE, Manifest, Record, Stamp, read_manifest
from fdikp_edge.runtime.errors import OutputError
from hypothesis import given
from hypothesis import strategies as st

STAMP = Stamp("a" * 64, 5, 7)


def record(name: str = "a.png", **fields: object) -> Record:
    return Record(output=name, source=f"in/{name}", stamp=STAMP, artifact="b", settings={}, **fields)  # type: ignore[arg-type]


@given(st.text(max_size=300), st.text(max_size=40), st.floats(0, 1e6), st.booleans())
def test_a_record_survives_its_line(reason: str, name: str, seconds: float, final: bool) -> None:
    one = record(name, reason=reason, seconds=seconds, final=final, details={"notes": [reason]})
    line = one.line()
    assert line.count(b"\n") == 1 and line.endswith(b"\n")
    assert Record.parse(line) == one


def test_a_long_reason_is_cut() -> None:
    assert len(record(reason="\ud800" * 100_000, details={"notes": ["x" * MAX_LINE]}).line()) <= MAX_LINE


def test_a_torn_last_line_is_removed_wherever_it_is_cut(tmp_path: Path) -> None:
    lines = [record("a.png", result=STAMP).line(), record("b.png", reason="bad").line()]
    for cut in range(len(lines[1]) - 1):
        (tmp_path / MANIFEST_NAME).write_bytes(lines[0] + lines[1][:cut])
        assert [one.output for one in read_manifest(tmp_path / MANIFEST_NAME)] == ["a.png"]
        with Manifest(tmp_path) as manifest:
            assert manifest.last("a.png") is not None and manifest.last("b.png") is None
            manifest.append(record("c.png", reason="bad"))
        assert [one.output for one in read_manifest(tmp_path / MANIFEST_NAME)] == ["a.png", "c.png"]


@pytest.mark.parametrize(
    "line", [b"{}\n", b"[]\n", b"\n", b"null\n", b"[" * 5000 + b"\n", b"\0\n", b"x" * (MAX_LINE + 5)]
)
def test_a_damaged_line_is_an_error_with_its_number(line: bytes, tmp_path: Path) -> None:
    path = tmp_path / MANIFEST_NAME
    content = record().line() + line + record("b.png").line()
    path.write_bytes(content)
    with pytest.raises(OutputError, match="line 2 is damaged"):
        Manifest(tmp_path)
    assert path.read_bytes() == content


def test_two_runs_into_one_folder(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    with Manifest(tmp_path), pytest.raises(OutputError, match="another run"):
        Manifest(tmp_path)
    Manifest(tmp_path).close()
    assert not (tmp_path / MANIFEST_NAME).exists()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / MANIFEST_NAME).symlink_to(tmp_path / "mine")
    with pytest.raises(OutputError, match="link"):
        Manifest(tmp_path)
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_stamp_tells_a_changed_file(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_bytes(b"12345")
    stamp = Stamp.of(file)
    file.touch()
    assert stamp.fits(file), "another time and the same content"
    file.write_bytes(b"12346")
    assert not stamp.fits(file)
    assert not stamp.fits(tmp_path / "none")


@pytest.mark.parametrize(
    "text", [b'{"my": "only copy"}', b"notes", b'{"output": "mine", "other": 1}', b'{"outputs": [1'], ids=str
)
def test_a_file_of_that_name_that_no_run_wrote_is_left_as_it_is(text: bytes, tmp_path: Path) -> None:
    (tmp_path / MANIFEST_NAME).write_bytes(text)
    with pytest.raises(OutputError, match="choose another folder"):
        Manifest(tmp_path)
    assert (tmp_path / MANIFEST_NAME).read_bytes() == text


def test_settings_that_hold_more_than_values_are_refused() -> None:
    line = record().line()
    for settings in (b'{"a": [[], []]}', b'{"a": {}}'):
        with pytest.raises(ValueError, match="types"):
            Record.parse(line.replace(b'"settings": {}', b'"settings": ' + settings))


def test_details_are_not_kept_in_memory(tmp_path: Path) -> None:
    with Manifest(tmp_path) as manifest:
        manifest.append(record("a.png", reason="bad", details={"notes": ["x" * 1000]}))
        last = manifest.last("a.png")
        assert last is not None and last.details == {} and last.reason == "bad"
    assert next(read_manifest(tmp_path / MANIFEST_NAME)).details == {"notes": ["x" * 1000]}


def test_a_last_line_whose_end_an_editor_took_away_counts(tmp_path: Path) -> None:
    (tmp_path / MANIFEST_NAME).write_bytes(record("a.png", result=STAMP).line().rstrip())
    with Manifest(tmp_path) as manifest:
        assert manifest.last("a.png") is not None
        manifest.append(record("b.png", reason="bad"))
    assert [one.output for one in read_manifest(tmp_path / MANIFEST_NAME)] == ["a.png", "b.png"]


def test_a_file_removed_before_it_is_locked_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl", reason="no file locks on this system")
    flock, calls = fcntl.flock, []

    def late(file: int, how: int) -> Any:
        if not calls:  # another run ends, without a result, between opening and locking
            (tmp_path / MANIFEST_NAME).unlink()
        calls.append(file)
        return flock(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with Manifest(tmp_path) as manifest:
        manifest.append(record(reason="bad"))
        with pytest.raises(OutputError, match="another run"):
            Manifest(tmp_path)
    assert [one.output for one in read_manifest(tmp_path / MANIFEST_NAME)] == ["a.png"]
