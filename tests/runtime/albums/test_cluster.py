"""Photos over a Ray cluster of several nodes on this machine, one of which is killed half-way."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fdikp_edge.runtime.albums.album import Album, run_album
from fdikp_edge.runtime.albums.manifest import MANIFEST_NAME, read_manifest
from fdikp_edge.runtime.artifact import Artifact
from fdikp_edge.runtime.buckets.buckets import Buckets
from fdikp_edge.runtime.errors import (
    BadInputError,
    FdikpEdgeError,
    OutputError,
    OutputExistsError,
    TargetUnavailableError,
)
from fdikp_edge.runtime.images import Photo, write_photo

ray = pytest.importorskip("ray", reason="Ray is not installed (extra `ray`)")
from fdikp_edge.runtime.albums.cluster import run as cluster_run  # noqa: E402
from fdikp_edge.runtime.albums.cluster.run import run_on_cluster  # noqa: E402

PHOTOS, BAD = 40, 4


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without processors and three nodes with one each."""
    os.environ.setdefault("RAY_agent_register_timeout_ms", "120000")  # a busy machine starts slowly
    from ray._private import services
    from ray.cluster_utils import Cluster

    get_node = services.get_node

    def patient(*args: Any, **kwargs: Any) -> Any:
        deadline = time.monotonic() + 240
        while True:
            try:
                return get_node(*args, **kwargs)
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(services, "get_node", patient)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    cluster.nodes = [cluster.add_node(num_cpus=1) for _ in range(3)]
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    yield cluster
    monkeypatch.undo()
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def album(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for number in range(PHOTOS):
        path = tmp_path / "in" / f"{number:03}.png"
        write_photo(path, Photo(pixels=rng.integers(0, 256, (200, 300, 3), dtype=np.uint8)))
        if number % (PHOTOS // BAD) == 5:
            path.write_bytes(b"no photo")
    return tmp_path / "in"


def test_a_node_that_dies_half_way_loses_nothing_and_repeats_nothing(
    cluster: Any, make_artifact: Callable[..., Artifact], album: Path, tmp_path: Path
) -> None:
    artifact = make_artifact("half")
    buckets = Buckets(artifact.path, (artifact,))
    killed = threading.Event()

    def kill(now: Album) -> None:
        if now.finished >= PHOTOS // 2 and not killed.is_set():
            killed.set()
            cluster.remove_node(cluster.nodes[0], allow_graceful=False)

    done = run_on_cluster(str(album), buckets, str(tmp_path / "out"), jobs=3, progress=kill)
    assert killed.is_set()
    assert (done.done, done.failed) == (PHOTOS - BAD, BAD)
    records = list(read_manifest(tmp_path / "out" / MANIFEST_NAME))
    assert max(Counter(record.output for record in records).values()) == 1 and len(records) == PHOTOS
    assert sum(bool(record.reason) for record in records) == BAD
    run_album([album], buckets, tmp_path / "alone", threads=1)
    names = {path.name for path in (tmp_path / "alone").iterdir()}
    assert names == {path.name for path in (tmp_path / "out").iterdir()}
    for name in names - {MANIFEST_NAME}:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
    again = run_on_cluster(str(album), buckets, str(tmp_path / "out"))
    assert (again.done, again.skipped, again.failed_before) == (0, PHOTOS - BAD, BAD)
    here = run_album([album], buckets, tmp_path / "out", threads=1)
    assert (here.done, here.skipped) == (0, PHOTOS - BAD), "one machine goes on where a cluster ended"


def test_a_folder_that_is_not_shared_and_a_node_without_a_package(
    cluster: Any, make_artifact: Callable[..., Artifact], album: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    artifact = make_artifact("half")
    buckets = Buckets(artifact.path, (artifact,))

    def refused(kind: type[FdikpEdgeError], words: str) -> None:
        with pytest.raises(kind, match=words):
            run_on_cluster(str(album), buckets, str(tmp_path / "out"))

    monkeypatch.setitem(cluster_run.MODULES, "onnx", "no_such_runtime")
    refused(TargetUnavailableError, "has no no_such_runtime; install")
    monkeypatch.undo()
    with pytest.raises(OutputError, match="does not see the output folder"):
        run_on_cluster(str(album), buckets, "memory://sharp")  # of this process alone


@pytest.fixture
def bucket() -> Iterator[str]:
    """The address of an empty bucket of a local S3 server, with the keys in it."""
    from pyarrow import fs

    program = shutil.which("moto_server")
    if program is None:
        pytest.skip("no S3 server is installed (moto_server)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([program, "-H", "127.0.0.1", "-p", str(port)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        options = (
            f"scheme=http&endpoint_override=127.0.0.1:{port}&region=us-east-1&allow_bucket_creation=true"
        )
        address = f"s3://key:secret@photos/{{}}?{options}"
        store, _ = fs.FileSystem.from_uri(address.format("sharp"))
        store.create_dir("photos")
        try:
            with store.open_output_stream("photos/probe") as stream:
                stream.write(b"x")
        except OSError as error:  # moto 5.2.1 completes no upload of pyarrow's; 5.2.5 does
            pytest.skip(f"the S3 server takes no upload: {error}")
        store.delete_file("photos/probe")
        yield address
    finally:
        server.terminate()
        server.wait()


def test_photos_and_results_in_an_object_store(
    cluster: Any, make_artifact: Callable[..., Artifact], album: Path, tmp_path: Path, bucket: str
) -> None:
    from pyarrow import fs

    store, _ = fs.FileSystem.from_uri(bucket.format(""))
    for photo in sorted(album.iterdir())[:12]:
        with store.open_output_stream(f"photos/in/{photo.name}") as stream:
            stream.write(photo.read_bytes())
    artifact = make_artifact("half")
    buckets = Buckets(artifact.path, (artifact,))
    places = bucket.format("in"), bucket.format("sharp")
    done = run_on_cluster(places[0], buckets, places[1])
    assert (done.done, done.failed) == (11, 1)
    assert done.manifest == f"s3://photos/sharp/{MANIFEST_NAME}" and "secret" not in str(done.failures)
    run_album([album], buckets, tmp_path / "alone", threads=1)
    infos = store.get_file_info(fs.FileSelector("photos/sharp", recursive=True))
    names = {info.base_name for info in infos if info.is_file}
    assert names == {f"{number:03}.png" for number in range(12) if number != 5} | {MANIFEST_NAME}
    for name in names - {MANIFEST_NAME}:
        with store.open_input_stream(f"photos/sharp/{name}") as stream:
            assert stream.read() == (tmp_path / "alone" / name).read_bytes()
    again = run_on_cluster(places[0], buckets, places[1])
    assert (again.done, again.skipped, again.failed_before) == (0, 11, 1)
    with store.open_output_stream("photos/sharp/001.png") as stream:
        stream.write(b"edited")
    with pytest.raises(OutputExistsError, match=r"s3://photos/sharp/001\.png: exists already"):
        run_on_cluster(places[0], buckets, places[1])


def test_a_cluster_that_cannot_be_reached(
    make_artifact: Callable[..., Artifact], album: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    artifact = make_artifact("half")
    buckets = Buckets(artifact.path, (artifact,))
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"  # nobody listens there
        for form in (address, f"ray://{address}"):
            with pytest.raises(TargetUnavailableError, match="cannot be reached"):
                run_on_cluster(str(album), buckets, str(tmp_path / "out"), address=form)
    with pytest.raises(BadInputError, match="expected host:port"):
        run_on_cluster(str(album), buckets, str(tmp_path / "out"), address="nonsense")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(TargetUnavailableError, match=r"fdikp-edge\[ray\]"):
        run_on_cluster(str(album), buckets, str(tmp_path / "out"))
