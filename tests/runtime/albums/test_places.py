"""The output folder of a cluster run in another file system: its record, its mark, what is finished in it."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fdikp_edge.runtime.albums.manifest import MANIFEST_NAME, Record, Stamp
from fdikp_edge.runtime.errors import BadInputError, OutputError, OutputExistsError

fs = pytest.importorskip("pyarrow.fs", reason="pyarrow is not installed (extra `ray`)")
fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed (extra `ray`)")

from fdikp_edge.runtime.albums.cluster import places  # noqa: E402
from fdikp_edge.runtime.albums.cluster.places import MARK, Destination, open_place, shown  # noqa: E402
from fdikp_edge.runtime.albums.cluster.run import _plan  # noqa: E402

OUT = "memory://sharp"


@pytest.fixture
def store() -> Iterator[dict[str, bytes]]:
    """What fsspec's file system in memory holds."""
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    yield memory.store
    memory.store.clear()


def line(output: str, data: bytes) -> Record:
    stamp = Stamp(hashlib.sha256(data).hexdigest(), len(data), 0)
    return Record(output, f"in/{output}", stamp, "a", {}, stamp)


def test_the_record_is_kept_where_nothing_can_be_appended(store: dict[str, bytes]) -> None:
    for number, name in enumerate(("a.png", "b.png")):
        dest = Destination(OUT)
        with dest.record() as record, dest.marked() as again:
            assert not again and record.place == f"{OUT}/{MANIFEST_NAME}"
            assert (record.manifest.last("a.png") is not None) == bool(number)
            assert f"/sharp/{MARK}" in store
            record.manifest.append(line(name, b"one"))
    dest = Destination(OUT)
    assert dest.exists(MANIFEST_NAME) and not dest.exists(MARK)
    with dest.record() as record:
        assert record.manifest.last("b.png") == line("b.png", b"one")
    assert sorted(store) == [f"/sharp/{MANIFEST_NAME}"]


def test_the_record_is_saved_while_a_run_lasts(
    store: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "SAVE_SECONDS", 0.0)
    dest = Destination(OUT)
    with pytest.raises(RuntimeError), dest.record() as record, dest.marked():
        record.manifest.append(line("a.png", b"one"))
        record.save()
        record.save(now=True)
        assert f"/sharp/{MANIFEST_NAME}" in store
        raise RuntimeError
    dest = Destination(OUT)
    with dest.record() as record, dest.marked() as again:
        assert again, "the run was cut off"
        assert record.manifest.last("a.png") is not None
    with pytest.raises(OutputExistsError), Destination(OUT).marked():
        raise OutputExistsError("refused before any work")
    assert not Destination(OUT).exists(MARK)


def test_a_result_is_known_by_its_content_where_times_say_nothing(store: dict[str, bytes]) -> None:
    Destination(OUT).write("a.png", b"one")
    dest = Destination(OUT)
    assert dest.exists("a.png") and not dest.exists("b.png")
    assert dest.holds("a.png", line("a.png", b"one").stamp)  # type: ignore[arg-type]
    for other in (b"two", b"longer"):
        assert not dest.holds("a.png", line("a.png", other).stamp)  # type: ignore[arg-type]
    assert not dest.holds("b.png", line("b.png", b"one").stamp)  # type: ignore[arg-type]


def test_a_damaged_record_is_refused(store: dict[str, bytes]) -> None:
    Destination(OUT).write(MANIFEST_NAME, b"no json\n{}\n")
    with pytest.raises(OutputError, match="line 1 is damaged"), Destination(OUT).record():
        pass


def test_addresses() -> None:
    assert isinstance(open_place("file:///tmp/x")[0], fs.LocalFileSystem)
    assert open_place("memory://a/b/")[1] == "/a/b"
    assert shown("s3://key:secret@bucket/in?token=1") == "s3://bucket/in"
    assert shown("/a@b/c?d") == "/a@b/c?d"
    with pytest.raises(BadInputError, match="nonsense://bucket: no file system") as caught:
        open_place("nonsense://key:secret@bucket")
    assert "secret" not in str(caught.value)


def test_a_mark_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / MARK).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="is a link"), Destination(str(tmp_path / "out")).marked():
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_a_mark_that_is_a_pipe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    os.mkfifo(tmp_path / "out" / MARK)
    reader = os.open(tmp_path / "out" / MARK, os.O_RDONLY | os.O_NONBLOCK)  # without one, writing never ends
    try:
        with pytest.raises(OutputError, match="no regular file"), Destination(str(tmp_path / "out")).marked():
            pass
    finally:
        os.close(reader)


def test_a_local_folder_is_asked_file_by_file(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.png").write_bytes(b"one")
    (out / "gone.png").symlink_to(tmp_path / "nowhere")
    (out / "x").symlink_to(".")
    (out / "y").symlink_to(".")  # two circles: 2**40 folders for whoever follows them
    dest = Destination(str(out))
    assert dest.exists("a.png") and dest.exists("gone.png") and not dest.exists("b.png")
    assert dest.holds("a.png", line("a.png", b"one").stamp)  # type: ignore[arg-type]
    assert not dest.holds("a.png", line("a.png", b"two").stamp)  # type: ignore[arg-type]


def test_photos_are_not_looked_for_behind_links(tmp_path: Path) -> None:
    photos = tmp_path / "in"
    (photos / "sub").mkdir(parents=True)
    for name in ("a.png", "sub/b.jpg", "note.txt", ".hidden.png"):
        (photos / name).write_bytes(b"x")
    for name in ("x", "sub/y"):
        (photos / name).symlink_to(photos)
    os.mkfifo(photos / "pipe.png")
    answers: list[Any] = []
    work = threading.Thread(
        target=lambda: answers.append(_plan(fs.LocalFileSystem(), str(photos), None, None)), daemon=True
    )
    work.start()
    work.join(20)
    assert answers, "it goes round in circles"
    planned, others = answers[0]
    assert [output for _, output in planned] == ["a.png", "sub/b.jpg"] and others == {".txt": 1}
