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
from ...errors import BadInputError, ImageError, OutputError, OutputExistsError, TargetUnavailableError
from ...photo import DEFAULT_MAX_PIXELS, FORMATS, READ_ONLY
from ...sessions import MODULES
from ..manifest import Manifest, Record, Stamp, artifact_digest
from ..summary import Album
from .actor import Files, Order, PhotoActor, node_problem, read_files

INSTALL = 'pip install "fdikp-edge[ray]"'
CONNECT_SECONDS = 5.0
PROBE_SECONDS = 120.0
MARK = ".fdikp-edge-ray"
"""A file in the output folder while a run lasts: results without a line are then an earlier attempt's."""


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
        source: a folder, or the address of one (``s3://bucket/photos``) that all nodes can read.
        buckets: the artifact, or several sizes of it; sent to the nodes.
        out: a local folder that all nodes see under the same path.
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
    filesystem, folder = _filesystem(source)
    dest, place = _filesystem(out)
    if not Path(place).is_absolute() or "://" in out:
        raise OutputError(f"{out}: give a folder that all nodes share under one path to --out")
    planned, passed_over = _plan(filesystem, folder, suffix)
    album = Album(photos=len(planned), passed_over=passed_over)
    Path(place).mkdir(parents=True, exist_ok=True)
    order = Order(filesystem, dest, place, threads, halo, quality, max_pixels)
    with Manifest(Path(place)) as manifest, _marked(Path(place)) as again:
        album.manifest = manifest.path
        work = _remaining(planned, order, manifest, buckets, album, overwrite, again)
        if progress is not None:
            progress(album)
        if not work:
            return album
        with _connected(ray, address):
            target = buckets.passport.target
            _check_nodes(ray, order, [MODULES[target]] if target in MODULES else [])
            files = ray.put(read_files(buckets))
            room = max(1, int(ray.cluster_resources().get("CPU", 1)) // threads)
            began = time.perf_counter()
            for line in _lines(ray, files, order, work, min(jobs or room, len(work))):
                record = Record.parse(line)
                manifest.append(record)
                album.seconds = time.perf_counter() - began
                _count(album, record)
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


def _filesystem(address: str) -> tuple[Any, str]:
    """Return pyarrow's file system for an address or path, else fsspec's, and the path in it."""
    from pyarrow import fs

    if "://" not in address:
        return fs.LocalFileSystem(), str(Path(address).absolute())
    try:
        filesystem, path = fs.FileSystem.from_uri(address)
    except Exception as first:
        try:
            import fsspec

            opened, path = fsspec.core.url_to_fs(address)
            filesystem = fs.PyFileSystem(fs.FSSpecHandler(opened))
        except Exception as error:
            raise BadInputError(f"{address}: no file system for it: {error or first}") from error
    return filesystem, path


def _plan(filesystem: Any, folder: str, suffix: str | None) -> tuple[list[tuple[Any, str]], Counter[str]]:
    """Return file information and output of each photo below a folder, and other files by suffix."""
    from pyarrow import fs

    try:
        infos = filesystem.get_file_info(fs.FileSelector(folder, recursive=True))
    except OSError as error:
        raise ImageError(f"{folder}: cannot be read: {error}") from error
    planned: dict[str, tuple[Any, str]] = {}
    passed_over: Counter[str] = Counter()
    for info in sorted((one for one in infos if one.is_file), key=lambda one: one.path):
        inside = PurePosixPath(info.path).relative_to(folder)
        if any(part.startswith(".") for part in inside.parts):
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
    manifest: Manifest,
    buckets: Buckets,
    album: Album,
    overwrite: bool,
    again: bool,
) -> list[dict[str, str]]:
    artifacts = {artifact_digest(artifact) for artifact in buckets.artifacts}
    settings = {"halo": order.halo, "quality": order.quality}
    work = []
    for info, output in planned:
        place, last = Path(order.out) / output, None if overwrite else manifest.last(output)
        if last is not None and last.stamp is not None and _same(last.stamp, info):
            if last.result is None:
                if last.final and last.settings == {**settings, "max_pixels": order.max_pixels}:
                    album.failed_before += 1
                    album.add_failure(info.path, last.reason, ImageError.exit_code)
                    continue
            elif last.settings == settings and last.artifact in artifacts and last.result.fits(place):
                album.skipped += 1
                continue
        if place.exists() and not (overwrite or again or manifest.wrote(output, place)):
            raise OutputExistsError(f"{place}: exists already; choose another place, or ask to overwrite")
        work.append({"source": info.path, "output": output})
    return work


def _same(stamp: Stamp, info: Any) -> bool:
    """Say whether a file system tells the size and time of the photo that was stamped."""
    return (stamp.bytes, stamp.modified_ns) == (info.size, info.mtime_ns or 0)


@contextlib.contextmanager
def _marked(folder: Path) -> Iterator[bool]:
    """Mark a run that lasts, and say whether an earlier one was cut off; kept if this one is."""
    mark = folder / MARK
    again = mark.exists()
    mark.touch()
    try:
        yield again
    except OutputExistsError:
        if not again:
            mark.unlink(missing_ok=True)
        raise
    mark.unlink(missing_ok=True)


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


def _check_nodes(ray: Any, order: Order, modules: list[str]) -> None:
    """Ask each node whether it can take part.

    Raises:
        TargetUnavailableError: one lacks this package, or another one.
        OutputError: one does not see the output folder.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    token, probe = secrets.token_bytes(16), Path(order.out) / f".probe-{secrets.token_hex(8)}"
    probe.write_bytes(token)
    try:
        task = ray.remote(num_cpus=0, max_retries=0)(node_problem)
        for node in ray.nodes():
            if not node["Alive"]:
                continue
            place = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            asked = task.options(scheduling_strategy=place).remote(order.dest, str(probe), token, modules)
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
        probe.unlink()


def _lines(ray: Any, files: Any, order: Order, work: list[dict[str, str]], actors: int) -> Iterator[bytes]:
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
    for row in dataset.iter_rows():
        record = Record.parse(row["line"])
        if record.output not in seen:
            seen.add(record.output)
            yield row["line"]


class _Shared(PhotoActor):
    """An actor whose artifact comes out of the cluster's object store, where it is kept once a node."""

    def __init__(self, files: Any, order: Order) -> None:
        import ray

        contents: Files = ray.get(files)
        super().__init__(contents, order)
