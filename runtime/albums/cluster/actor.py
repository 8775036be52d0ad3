"""What runs on the nodes of a cluster: one opened session for each actor, a photo at a time."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.util
import io
import secrets
import tempfile
import time
from pathlib import Path, PurePosixPath
from typing import Any

from ...artifact import Artifact
from ...batch import Deblurrers
from ...buckets.buckets import Buckets
from ...buckets.opened import OpenBuckets
from ...codecs.headers import BYTES_PER_PIXEL, FREE_BYTES
from ...errors import (
    ArtifactError,
    FdikpEdgeError,
    ImageError,
    OutputExistsError,
    TargetUnavailableError,
)
from ...fields import PASSPORT_NAME
from ...images import check_writable, output_format
from ...trust.keys import PublicKey
from ...trust.signature import SIGNATURE_NAME, required
from ..manifest import Record, Stamp, artifact_digest
from ..record import is_final
from .places import is_stamped

Files = dict[str, dict[str, bytes]]
"""Artifacts on their way to the nodes: folder name -> path in it -> content. ``""``: an artifact alone."""


@dataclasses.dataclass(frozen=True)
class Order:
    """What every photo of a run has in common."""

    source: Any
    """The file system (of pyarrow) of the photos."""
    dest: Any
    """The one of the results."""
    out: str
    """The folder of the results in ``dest``."""
    threads: int
    halo: int | None
    quality: int
    max_pixels: int
    keys: tuple[PublicKey, ...] = ()
    """Whose signatures the artifact must have, as on the machine that sent it."""


class PhotoActor:
    """Reads, runs and writes photos with one session of its own. Ray keeps the object while a run lasts."""

    def __init__(self, files: Files, order: Order) -> None:
        """Write the artifact to this node's disk and open it; its passport is checked like any other."""
        from ...codecs import decode, encode

        self._decode, self._encode = decode.decode, encode.encode
        self._order = order
        self._folder = tempfile.TemporaryDirectory(prefix="fdikp-edge-")
        top = Path(self._folder.name) / "artifact"
        for name, contents in files.items():
            for inside, data in contents.items():
                file = top / name / inside
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data)
        with contextlib.ExitStack() as stack:
            for key in order.keys:
                stack.enter_context(required(key))
            buckets = Buckets.open(top)
        self._digests = {artifact.path: artifact_digest(artifact) for artifact in buckets.artifacts}
        self._opened = OpenBuckets(buckets, threads=order.threads)
        self._deblurrers = Deblurrers(self._opened, order.halo)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Run one photo and return its manifest line: ``{"line": bytes}``."""
        record = self.record(str(row["source"]), str(row["output"]), known=bool(row.get("known", True)))
        return {"line": record.line()}

    def record(self, source: str, output: str, *, known: bool = True) -> Record:
        """Run one photo and return its record; whatever is wrong with it is the record's reason.

        ``known`` is false for a result that was there and has no line in the manifest. It may be an earlier
        attempt's, or somebody's file: it is taken if it holds the bytes of the result, and never replaced.
        """
        order, began = self._order, time.perf_counter()
        settings: dict[str, Any] = {"halo": order.halo, "quality": order.quality}
        stamp, artifact = None, ""
        details: dict[str, Any] = {}
        try:
            data, stamp = self._read(source)
            photo = self._decode(io.BytesIO(data), Path(source), order.max_pixels)
            del data  # it may be large
            deblurrer, bucket = self._deblurrers.for_size(photo.height, photo.width)
            artifact = self._digests[deblurrer.session.artifact.path]
            tiles = deblurrer.grid(photo.height, photo.width).tiles
            details = {"bucket": bucket} if bucket else {}
            details |= {"height": photo.height, "width": photo.width, "tiles": tiles}
            result = deblurrer.photo(photo)
            name = Path(output)
            check_writable(name, result, order.quality)
            stream = io.BytesIO()
            notes = self._encode(stream, result, output_format(name), order.quality)
            details["notes"] = [*photo.notes, *notes]
            encoded = stream.getbuffer()
            written = self._write(output, encoded) if known else self._taken(output, encoded)
        except (ArtifactError, TargetUnavailableError):
            raise
        except (FdikpEdgeError, OSError) as error:
            settings["max_pixels"] = order.max_pixels
            seconds = round(time.perf_counter() - began, 3)
            return Record(
                *(output, source, stamp, artifact, settings, None, str(error)),
                final=isinstance(error, FdikpEdgeError) and is_final(error),
                seconds=seconds,
                details=details,
            )
        seconds = round(time.perf_counter() - began, 3)
        return Record(output, source, stamp, artifact, settings, written, seconds=seconds, details=details)

    def _read(self, source: str) -> tuple[bytes, Stamp]:
        info = self._order.source.get_file_info(source)
        most = FREE_BYTES + BYTES_PER_PIXEL * self._order.max_pixels
        if (info.size or 0) > most:
            raise ImageError(f"{source}: has {info.size} bytes, more than the {most} allowed")
        with self._order.source.open_input_stream(source) as stream:
            data: bytes = stream.read(most)
        return data, Stamp(hashlib.sha256(data).hexdigest(), len(data), info.mtime_ns or 0)

    def _taken(self, output: str, data: Any) -> Stamp:
        """Return the stamp of the file that is at a result's place if it holds ``data``; write it if none is.

        Raises:
            OutputExistsError: it holds something else.
        """
        order, place = self._order, str(PurePosixPath(self._order.out, output))
        info = order.dest.get_file_info(place)
        stamp = Stamp(hashlib.sha256(data).hexdigest(), len(data), 0)
        if is_stamped(order.dest, info, stamp):
            return dataclasses.replace(stamp, modified_ns=info.mtime_ns or 0)
        if info.type == info.type.NotFound:
            return self._write(output, data)
        raise OutputExistsError(
            f"{place}: exists already, and is not the result of this photo with these settings; move it away "
            "to keep it, delete it to have it made again, or ask to overwrite all results"
        )

    def _write(self, output: str, data: Any) -> Stamp:
        place = str(PurePosixPath(self._order.out, output))
        dest, folder = self._order.dest, str(PurePosixPath(place).parent)
        dest.create_dir(folder, recursive=True)
        temporary = f"{folder}/.partial-{secrets.token_hex(8)}"
        try:
            with dest.open_output_stream(temporary) as stream:
                stream.write(data)
            dest.move(temporary, place)
        except BaseException:
            if dest.get_file_info(temporary).is_file:
                dest.delete_file(temporary)
            raise
        return Stamp(hashlib.sha256(data).hexdigest(), len(data), dest.get_file_info(place).mtime_ns or 0)


def read_files(buckets: Buckets) -> Files:
    """Read the artifacts of a run, to be sent to the nodes."""
    several = len(buckets.artifacts) > 1
    return {artifact.path.name if several else "": _contents(artifact) for artifact in buckets.artifacts}


def _contents(artifact: Artifact) -> dict[str, bytes]:
    names = [*artifact.passport.files, PASSPORT_NAME]
    if (artifact.path / SIGNATURE_NAME).is_file():
        names.append(SIGNATURE_NAME)
    return {name: (artifact.path / name).read_bytes() for name in names}


def node_problem(dest: Any, probe: str, token: bytes, modules: list[str]) -> str:
    """Say what keeps the node that this runs on from taking part; nothing if it can."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        return f"has no {', '.join(missing)}; install the same extras of fdikp-edge there, with [ray]"
    try:
        with dest.open_input_stream(probe) as stream:
            seen = stream.read(len(token))
    except OSError:
        seen = b""
    return "" if seen == token else "does not see the output folder; give one that all nodes reach to --out"
