"""A folder of photos over the nodes of a Ray cluster, with Ray Data; nothing here schedules anything."""

from __future__ import annotations

import contextlib
import math
import secrets
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from ...buckets.buckets import Buckets
from ...errors import (
    BadInputError,
    ImageError,
    OutputError,
    OutputExistsError,
    RunError,
    TargetUnavailableError,
)
from ...installed.packages import CRYPTOGRAPHY
from ...photo import DEFAULT_MAX_PIXELS, FORMATS, READ_ONLY
from ...sessions import MODULES
from ...sessions.base import reason
from ...trust.signature import required_keys
from ..manifest import Manifest, Record, artifact_digest
from ..plan import files_below, refuse_links
from ..summary import Album
from .actor import Files, Order, PhotoActor, node_problem, read_files
from .places import Destination, is_stamped, open_place

INSTALL = 'pip install "fdikp-edge[ray]"'
CONNECT_SECONDS = 5.0
PROBE_SECONDS = 120.0


def run_on_cluster(
    source: str,
    buckets: Buckets,
    out: str,
    *,
    address: str = "local",
    jobs: int | None = None,
    threads: int = 1,
    overwrite: bool = False,
    suffix: str | None = None,
    halo: int | None = None,
    quality: int = 95,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    progress: Callable[[Album], None] | None = None,
) -> Album:
    """Run all photos below ``source`` on a Ray cluster; results and record are those of one machine.

    A node that dies takes nothing with it: Ray runs its photos again elsewhere, and a photo has one line in
    the manifest, which this process writes.

    Args:
        source: a folder that all nodes can read, or the address of one (``s3://bucket/photos``).
        buckets: the artifact, or several sizes of it; sent to the nodes.
        out: a local folder that all nodes see under the same path, or the address of one
            (``s3://bucket/sharp``).
        address: of the cluster: ``host:port``, ``ray://host:port``, ``auto``; ``local`` starts one here.
        jobs: actors, each with a session; as many as the cluster has room for when ``None``.
        threads: processors of each actor.
        overwrite, suffix, halo, quality, max_pixels: as :func:`fdikp_edge.runtime.albums.album.run_album`.
        progress: called at the beginning and after each photo.

    Raises:
        TargetUnavailableError: Ray is missing here, the cluster cannot be reached, or a node lacks a package.
        OutputError: ``out`` is not shared by all nodes, or a result would replace a file that no run wrote.
        BadInputError: no photos, or a wrong option.
    """
    ray = _ray()
    if suffix is not None and suffix.lower() not in FORMATS:
        raise OutputError(f"suffix {suffix!r}: expected one of {', '.join(FORMATS)}")
    buckets.for_photo(1, 1, halo)
    filesystem, folder = open_place(source)
    dest = Destination(out)
    results = dest.folder if filesystem.equals(dest.filesystem) else None
    planned, passed_over = _plan(filesystem, folder, suffix, results)
    if dest.local is not None:
        refuse_links({(dest.local / output).parent for _, output in planned}, dest.local)
    album = Album(photos=len(planned), passed_over=passed_over)
    keys = tuple(required_keys())
    order = Order(filesystem, dest.filesystem, dest.folder, threads, halo, quality, max_pixels, keys)
    with dest.record() as record, dest.marked() as again:
        album.manifest = record.place
        work = _remaining(planned, order, dest, record.manifest, buckets, album, overwrite, again)
        if progress is not None:
            progress(album)
        if not work:
            return album
        with _connected(ray, address):
            _check_nodes(ray, dest, _modules(buckets.passport.target, signed=bool(keys)))
            files = ray.put(read_files(buckets))
            room = max(1, int(ray.cluster_resources().get("CPU", 1)) // threads)
            began = time.perf_counter()
            for line in _lines(ray, files, order, work, min(jobs or room, len(work))):
                done = Record.parse(line)
                record.manifest.append(done)
                record.save()
                album.seconds = time.perf_counter() - began
                _count(album, done)
                if progress is not None:
                    progress(album)
    return album


def _ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise TargetUnavailableError(f"--ray needs Ray, which is not installed here: {INSTALL}") from error
    return ray


def _plan(
    filesystem: Any, folder: str, suffix: str | None, leave_out: str | None
) -> tuple[list[tuple[Any, str]], Counter[str]]:
    """Return file information and output of each photo below a folder, and other files by suffix.

    ``leave_out`` is a folder that is not looked into: where results go.
    """
    from pyarrow import fs

    try:
        if isinstance(filesystem, fs.LocalFileSystem):  # which would follow links, round in circles too
            left = None if leave_out in (None, folder) else Path(str(leave_out))
            files = files_below(Path(folder), None, recursive=True, leave_out=left)
            infos = filesystem.get_file_info([str(file) for file in files])
        else:
            infos = filesystem.get_file_info(fs.FileSelector(folder, recursive=True))
    except OSError as error:
        raise ImageError(f"{folder}: cannot be read: {error}") from error
    planned: dict[str, tuple[Any, str]] = {}
    passed_over: Counter[str] = Counter()
    for info in sorted((one for one in infos if one.is_file), key=lambda one: one.path):
        inside = PurePosixPath(info.path).relative_to(folder)
        if any(part.startswith(".") for part in inside.parts):
            continue
        if leave_out is not None and leave_out != folder and info.path.startswith(f"{leave_out}/"):
            continue
        kind = inside.suffix.lower()
        if kind not in FORMATS and kind not in READ_ONLY:
            passed_over[kind] += 1
            continue
        output = str(inside.with_suffix(suffix or READ_ONLY.get(kind, inside.suffix)))
        if output in planned:
            raise OutputError(f"{planned[output][0].path} and {info.path} would both become {output}")
        planned[output] = (info, output)
    if not planned:
        raise BadInputError(f"no photos in {folder} ({', '.join(FORMATS)})")
    return list(planned.values()), passed_over


def _remaining(
    planned: list[tuple[Any, str]],
    order: Order,
    dest: Destination,
    manifest: Manifest,
    buckets: Buckets,
    album: Album,
    overwrite: bool,
    again: bool,
) -> list[dict[str, Any]]:
    artifacts = {artifact_digest(artifact) for artifact in buckets.artifacts}
    settings = {"halo": order.halo, "quality": order.quality}
    work = []
    for info, output in planned:
        last = None if overwrite else manifest.last(output)
        if last is not None and last.stamp is not None and is_stamped(order.source, info, last.stamp):
            if last.result is None:
                if last.final and last.settings == {**settings, "max_pixels": order.max_pixels}:
                    album.failed_before += 1
                    album.add_failure(info.path, last.reason, ImageError.exit_code)
                    continue
            elif last.settings == settings and last.artifact in artifacts and dest.holds(output, last.result):
                album.skipped += 1
                continue
        known = (
            overwrite
            or not dest.exists(output)
            or any(dest.holds(output, stamp) for stamp in manifest.results(output))
        )
        if not known and not again:
            raise OutputExistsError(
                f"{dest.name}/{output}: exists already; choose another place, or ask to overwrite"
            )
        work.append({"source": info.path, "output": output, "known": known})
    return work


def _count(album: Album, record: Record) -> None:
    if record.result is None:
        album.failed += 1
        album.add_failure(record.source, record.reason, ImageError.exit_code)
        return
    album.done += 1
    album.pixels += int(record.details.get("height", 0)) * int(record.details.get("width", 0))
    if record.details.get("bucket"):
        album.buckets[record.details["bucket"]] += 1


@contextlib.contextmanager
def _connected(ray: Any, address: str) -> Iterator[None]:
    """Connect to a cluster, or start one here, for the block.

    Raises:
        TargetUnavailableError: nothing answers at the address.
    """
    if ray.is_initialized():
        yield
        return
    problem = (
        f"the Ray cluster at {address} cannot be reached; check the address, and that `ray start` ran there"
    )
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon and port.isdigit():
        try:
            socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
        except (OSError, OverflowError) as error:
            raise TargetUnavailableError(problem) from error
    elif address not in ("auto", "local"):
        raise BadInputError(f"--ray {address}: expected host:port, ray://host:port, auto or local")
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except Exception as error:  # ConnectionError, RuntimeError, grpc's own
        raise TargetUnavailableError(f"{problem} ({type(error).__name__})") from error
    try:
        yield
    finally:
        ray.shutdown()


def _modules(target: str, *, signed: bool) -> list[str]:
    """Return the modules that a node needs beside this package and Ray."""
    return [*([MODULES[target]] if target in MODULES else []), *([CRYPTOGRAPHY.module] if signed else [])]


def _check_nodes(ray: Any, dest: Destination, modules: list[str]) -> None:
    """Ask each node whether it can take part.

    Raises:
        TargetUnavailableError: one lacks this package, or another one.
        OutputError: one does not see the output folder.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    token, probe = secrets.token_bytes(16), f".probe-{secrets.token_hex(8)}"
    dest.write(probe, token)
    try:
        task = ray.remote(num_cpus=0, max_retries=0)(node_problem)
        for node in ray.nodes():
            if not node["Alive"]:
                continue
            place = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            asked = task.options(scheduling_strategy=place).remote(
                dest.filesystem, dest.path(probe), token, modules
            )
            name = node.get("NodeManagerHostname") or node["NodeManagerAddress"]
            try:
                problem = str(ray.get(asked, timeout=PROBE_SECONDS))
            except ray.exceptions.RayError as error:
                lacks = "No module named" in str(error)
                problem = f"has no fdikp-edge; install it there: {INSTALL}" if lacks else "does not answer"
            if problem:
                kind = OutputError if "output folder" in problem else TargetUnavailableError
                raise kind(f"node {name} {problem}")
    finally:
        dest.remove(probe)


def _lines(ray: Any, files: Any, order: Order, work: list[dict[str, Any]], actors: int) -> Iterator[bytes]:
    """Yield the manifest line of each photo, once, as blocks are finished."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    blocks = min(len(work), max(4 * actors, math.ceil(len(work) / 16)))
    dataset = ray.data.from_items(work, override_num_blocks=blocks).map(
        _Shared,
        fn_constructor_args=(files, order),
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=order.threads,
    )
    seen: set[str] = set()
    try:
        for row in dataset.iter_rows():
            record = Record.parse(row["line"])
            if record.output not in seen:
                seen.add(record.output)
                yield row["line"]
    except ray.exceptions.RayError as error:
        raise RunError(f"the cluster gave up: {reason(error)}") from error


class _Shared(PhotoActor):
    """An actor whose artifact comes out of the cluster's object store, where it is kept once a node."""

    def __init__(self, files: Any, order: Order) -> None:
        import ray

        contents: Files = ray.get(files)
        super().__init__(contents, order)
