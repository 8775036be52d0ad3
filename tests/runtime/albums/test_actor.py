"""What a node of a cluster does with a photo: the bytes and the record of one machine. Needs no cluster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fdikp_edge.runtime.albums.album import run_album
from fdikp_edge.runtime.albums.cluster.actor import Order, PhotoActor, node_problem, read_files
from fdikp_edge.runtime.albums.manifest import MANIFEST_NAME, Record, read_manifest
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.buckets.buckets import Buckets
from fdikp_edge.runtime.errors import ArtifactError
from fdikp_edge.runtime.images import Photo, write_photo
from fdikp_edge.runtime.photo import DEFAULT_MAX_PIXELS
from fdikp_edge.runtime.trust.keys import PublicKey, make_keys, read_private
from fdikp_edge.runtime.trust.signature import sign_artifact

fs = pytest.importorskip("pyarrow.fs", reason="pyarrow is not installed (extra `ray`)")


def test_an_actor_writes_the_bytes_of_one_machine(
    make_artifact: Callable[..., Artifact], tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    for name in ("a.png", "b.jpg", "sub/c.webp"):
        write_photo(tmp_path / "in" / name, Photo(pixels))
    (tmp_path / "in" / "bad.png").write_bytes(b"no photo")
    artifact = make_artifact("half")
    buckets = Buckets(artifact.path, (artifact,))
    run_album([tmp_path / "in"], buckets, tmp_path / "alone", recursive=True, threads=1)
    local = fs.LocalFileSystem()
    order = Order(local, local, str(tmp_path / "out"), 1, None, 95, DEFAULT_MAX_PIXELS)
    actor = PhotoActor(read_files(buckets), order)
    records = list(read_manifest(tmp_path / "alone" / MANIFEST_NAME))
    assert len(records) == 4
    for expected in records:
        source = str(tmp_path / "in" / expected.output)
        record = Record.parse(actor({"source": source, "output": expected.output})["line"])
        assert (record.stamp, record.artifact, record.final) == (
            expected.stamp,
            expected.artifact,
            expected.final,
        )
        assert record.settings == expected.settings and record.details == (
            expected.details if record.result else {}
        )
        if expected.result is None:
            assert record.reason == expected.reason and not (tmp_path / "out" / record.output).exists()
            continue
        assert record.result is not None and record.result.fits(tmp_path / "out" / record.output)
        assert record.result.sha256 == expected.result.sha256
    assert not list((tmp_path / "out").rglob(".partial-*"))


def test_results_in_another_file_system(make_artifact: Callable[..., Artifact], tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    write_photo(tmp_path / "in" / "a.png", Photo(pixels))
    artifact = make_artifact("half")
    buckets = Buckets(artifact.path, (artifact,))
    run_album([tmp_path / "in"], buckets, tmp_path / "alone", threads=1)
    memory = pytest.importorskip("fsspec", reason="fsspec is not installed").filesystem("memory")
    memory.store.clear()
    dest = fs.PyFileSystem(fs.FSSpecHandler(memory))
    order = Order(fs.LocalFileSystem(), dest, "/sharp", 1, None, 95, DEFAULT_MAX_PIXELS)
    actor = PhotoActor(read_files(buckets), order)
    record = actor.record(str(tmp_path / "in" / "a.png"), "sub/a.png")
    assert record.result is not None and list(memory.store) == ["/sharp/sub/a.png"]
    assert memory.cat("/sharp/sub/a.png") == (tmp_path / "alone" / "a.png").read_bytes()
    memory.store.clear()


def test_a_result_without_a_line_is_taken_or_left_and_never_replaced(
    make_artifact: Callable[..., Artifact], tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    write_photo(tmp_path / "in" / "a.png", Photo(pixels))
    artifact = make_artifact("half")
    local = fs.LocalFileSystem()
    order = Order(local, local, str(tmp_path / "out"), 1, None, 95, DEFAULT_MAX_PIXELS)
    actor = PhotoActor(read_files(Buckets(artifact.path, (artifact,))), order)
    row, result = {"source": str(tmp_path / "in" / "a.png"), "output": "a.png"}, tmp_path / "out" / "a.png"
    first = Record.parse(actor({**row, "known": False})["line"])
    assert first.result is not None and first.result.fits(result), "nothing was there"
    written = result.stat()
    again = Record.parse(actor({**row, "known": False})["line"])
    assert again.result == first.result and result.stat().st_ino == written.st_ino, "an earlier attempt's"
    for other in (b"mine", result.read_bytes()[:-1] + b"x"):
        result.write_bytes(other)
        record = Record.parse(actor({**row, "known": False})["line"])
        assert record.result is None and "exists already" in record.reason and not record.final
        assert result.read_bytes() == other
    assert not list((tmp_path / "out").rglob(".partial-*"))
    assert Record.parse(actor({**row, "known": True})["line"]).result is not None, "overwrite was asked for"


def test_a_node_checks_the_signature_too(make_artifact: Callable[..., Artifact], tmp_path: Path) -> None:
    pytest.importorskip("cryptography", reason="signatures need cryptography (extra `sign`)")
    artifact = make_artifact("half")
    buckets = Buckets(artifact.path, (artifact,))
    mine, other = (make_keys(tmp_path / name) for name in ("mine.key", "other.key"))
    sign_artifact(artifact.path, artifact.passport, read_private(tmp_path / "mine.key"))
    local = fs.LocalFileSystem()

    def order(key: PublicKey) -> Order:
        return Order(local, local, str(tmp_path / "out"), 1, None, 95, DEFAULT_MAX_PIXELS, (key,))

    PhotoActor(read_files(buckets), order(mine))
    with pytest.raises(ArtifactError, match="sign"):
        PhotoActor(read_files(buckets), order(other))
    files = read_files(buckets)
    del files[""]["signature.json"]
    with pytest.raises(ArtifactError, match="is not signed"):
        PhotoActor(files, order(mine))


def test_a_node_tells_what_it_lacks(tmp_path: Path) -> None:
    probe = tmp_path / "probe"
    local = fs.LocalFileSystem()
    assert "output folder" in node_problem(local, str(probe), b"token", [])
    probe.write_bytes(b"token")
    assert node_problem(local, str(probe), b"token", ["numpy"]) == ""
    assert "output folder" in node_problem(local, str(probe), b"other", [])
    assert "no_such_runtime" in node_problem(local, str(probe), b"token", ["numpy", "no_such_runtime"])
