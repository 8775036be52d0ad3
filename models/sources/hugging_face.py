"""Weights on a Hugging Face server: ``hf:ORG/NAME``, ``hf:ORG/NAME@REV``, ``hf:ORG/NAME/FILE``.

Only one file of weights is fetched, with the client ``huggingface_hub`` (the extra ``hf``), and read by this
package's own reader. No other file of the repository is looked at, so none of its code can run. The client's
own variables hold: ``HF_ENDPOINT`` (the server), ``HF_HUB_CACHE`` and ``HF_HUB_OFFLINE``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...runtime.errors import SourceError
from ..checkpoint import MAX_FILE_BYTES, choose_weights
from .base import NetworkSource
from .request import Request

PREFIX = "hf:"
MAX_FILES = 10_000
"""Files of a repository that are looked through for weights."""
MAX_ANSWER_BYTES = 16 * 2**20
"""Of all that the server says about a repository and its files."""
_TRIES = 2
"""How many times the size of a file may arrive: a connection that breaks begins again."""
MAX_ERROR_BYTES = 64 * 2**10
"""Of an answer that is no file but says what is wrong."""

_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}"
_SPEC = re.compile(rf"hf:({_PART}/{_PART})((?:/{_PART})*)(?:@([A-Za-z0-9_][A-Za-z0-9_./-]{{0,199}}))?")
_NAME = re.compile(rf"{_PART}(/{_PART})*")
_COMMIT = re.compile("[0-9a-f]{40}")
_TAG = re.compile("[0-9a-f]{32,64}")
"""An ETag: the hash of a file, of which the client makes a name in its cache."""


def resolve(request: Request) -> NetworkSource:
    """Return FDIKP with the weights of a repository; its ``spec`` names the commit they came from.

    Raises:
        SourceError: the repository cannot be reached, or has no single file of weights; or the client
            is not installed.
        CheckpointError: the file is unsafe, damaged, or holds the weights of another network.
    """
    from . import fdikp

    request.refuse(weights="--model names a repository of weights already")
    path, pinned = fetch(request.spec)
    source = fdikp.resolve(dataclasses.replace(request, spec=str(path)))
    return dataclasses.replace(source, spec=pinned, note=f"{source.note}, from {pinned}")


def fetch(spec: str) -> tuple[Path, str]:
    """Download the file of weights that a spec names, unless it is in the client's cache already.

    A commit (40 hexadecimal digits) that is in the cache, and everything where ``HF_HUB_OFFLINE`` is set, is
    taken from there without asking the server.

    Args:
        spec: ``hf:ORG/NAME``, with ``/FILE`` where the repository has several files of weights, and ``@REV``
            (a branch, tag or commit) where it should not be ``main``.

    Returns:
        The file, and the spec with the commit that it is from.

    Raises:
        SourceError: see :func:`resolve`. The size that the server gives is checked before the download, what
            arrives is counted, and the file's own size is checked when it is read.
    """
    match = _SPEC.fullmatch(spec)
    if match is None or ".." in spec:
        raise SourceError(f"{spec}: write hf:ORG/NAME, hf:ORG/NAME@REVISION or hf:ORG/NAME/FILE.safetensors")
    repository, file, revision = match[1], match[2].lstrip("/"), match[3]
    hub = _imported(spec)
    offline = bool(hub.constants.is_offline_mode())
    cache = os.environ.get("HF_HUB_CACHE") or None
    if offline or (revision and _COMMIT.fullmatch(revision)):
        cached = _cached(hub, spec, repository, file, revision, cache)
        if cached is not None:
            return cached
        if offline:
            raise SourceError(
                f"{spec}: HF_HUB_OFFLINE is set, and the client's cache has no weights of this revision"
            )
    endpoint = os.environ.get("HF_ENDPOINT") or None
    try:
        api = hub.HfApi(endpoint=endpoint)
        with _bounded(hub, spec, MAX_ANSWER_BYTES):
            info = api.model_info(repository, revision=revision, files_metadata=True, timeout=30)
            name = _choose(spec, file, {entry.rfilename: entry.size for entry in info.siblings or ()})
            size = _check_answer(hub, spec, repository, name, revision, str(info.sha), endpoint)
        with _bounded(hub, spec, _TRIES * size + MAX_ERROR_BYTES):
            path = hub.hf_hub_download(
                repository, name, revision=revision, endpoint=endpoint, cache_dir=cache
            )
    except SourceError:
        raise
    except Exception as error:  # the client and the libraries below it fail by many types
        raise SourceError(f"{spec}: {_reason(hub, error, file)}") from error
    commit = Path(path).parents[name.count("/")].name  # the client's cache has a folder for each commit
    if commit != info.sha:
        raise SourceError(f"{spec}: the server gave a file of commit {commit:.60}, not of {info.sha}")
    return Path(path), _pinned(repository, file, commit)


def _check_answer(
    hub: Any, spec: str, repository: str, name: str, revision: str | None, commit: str, endpoint: str | None
) -> int:
    """Ask what the server will send, and refuse what the client would make paths of, and another commit.

    Returns:
        The size of the file in bytes.

    Raises:
        SourceError: a commit other than the one asked for, or a commit or tag of a file that is none.
    """
    if not _COMMIT.fullmatch(commit) or (revision and _COMMIT.fullmatch(revision) and revision != commit):
        raise SourceError(f"{spec}: the server answers with commit {commit!r:.60}, which was not asked for")
    url = hub.hf_hub_url(repository, name, revision=commit, endpoint=endpoint)
    told = hub.get_hf_file_metadata(url, timeout=30)
    if told.commit_hash != commit:
        raise SourceError(
            f"{spec}: the server gives {name} of commit {told.commit_hash!r:.60}, not of {commit}"
        )
    if not _TAG.fullmatch(told.etag or ""):
        raise SourceError(f"{spec}: the server names {name} by the tag {told.etag!r:.60}, which is no hash")
    if not isinstance(told.size, int) or not 0 < told.size <= MAX_FILE_BYTES:
        raise SourceError(f"{spec}: {name} has {told.size} bytes; at most {MAX_FILE_BYTES} are downloaded")
    return told.size


@contextlib.contextmanager
def _bounded(hub: Any, spec: str, most: int) -> Iterator[None]:
    """Let the client read at most ``most`` bytes in the block, over all answers, none of them compressed.

    The client reads whatever arrives: answers about a repository into memory, files onto the disk. A
    compressed megabyte can become a gigabyte before anyone counts it. Xet, the client's other protocol for
    files, is not used.

    Raises:
        SourceError: more arrives, or it is compressed.
    """
    client = hub.get_session()
    base: Any = importlib.import_module(type(client).__module__.partition(".")[0]).SyncByteStream
    left = most

    class Counted(base):  # type: ignore[misc]
        def __init__(self, stream: Any) -> None:
            self._stream = stream

        def __iter__(self) -> Iterator[bytes]:
            nonlocal left
            for data in self._stream:
                left -= len(data)
                if left < 0:
                    raise SourceError(f"{spec}: the server sends more than the {most} bytes expected")
                yield data

        def close(self) -> None:
            self._stream.close()

    def ask(request: Any) -> None:
        request.headers["Accept-Encoding"] = "identity"

    def count(response: Any) -> None:
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding.lower() != "identity":
            raise SourceError(f"{spec}: the server compresses what it sends ({encoding:.20})")
        response.stream = Counted(response.stream)

    hooks, xet = client.event_hooks, hub.constants.HF_HUB_DISABLE_XET
    client.event_hooks = {
        "request": [*hooks.get("request", ()), ask],
        "response": [*hooks.get("response", ()), count],
    }
    hub.constants.HF_HUB_DISABLE_XET = True
    try:
        yield
    finally:
        client.event_hooks, hub.constants.HF_HUB_DISABLE_XET = hooks, xet


def _choose(spec: str, file: str, sizes: dict[str, int | None]) -> str:
    """Return the name of the file of weights; ``sizes`` is what the server says, and checked."""
    if len(sizes) > MAX_FILES:
        raise SourceError(
            f"{spec}: has {len(sizes)} files, more than the {MAX_FILES} that are looked through"
        )
    names = [name for name in sizes if _NAME.fullmatch(name) and ".." not in name]
    if file and file not in names:
        raise SourceError(f"{spec}: the repository has no file {file}")
    name = file or choose_weights([name for name in names if "/" not in name], spec, SourceError)
    size = sizes[name]
    if not isinstance(size, int) or not 0 < size <= MAX_FILE_BYTES:
        raise SourceError(f"{spec}: {name} has {size} bytes; at most {MAX_FILE_BYTES} are downloaded")
    return name


def _cached(
    hub: Any, spec: str, repository: str, file: str, revision: str | None, cache: str | None
) -> tuple[Path, str] | None:
    """Return the file in the client's cache and its spec, or ``None``; asks no server."""
    try:
        folder = Path(
            hub.snapshot_download(repository, revision=revision, local_files_only=True, cache_dir=cache)
        )
    except Exception:  # whatever the client finds wrong with its cache, the file is not to be had from there
        return None
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    try:
        path = folder / (file or choose_weights(names, spec, SourceError))
    except SourceError:
        return None
    return (path, _pinned(repository, file, folder.name)) if path.is_file() else None


def _pinned(repository: str, file: str, commit: str) -> str:
    return f"{PREFIX}{repository}{'/' if file else ''}{file}@{commit}"


def _reason(hub: Any, error: Exception, file: str) -> str:
    """Say in one sentence what went wrong with the client or the server."""
    errors = hub.errors
    if isinstance(error, errors.GatedRepoError):
        return "the repository asks for an agreement; accept it on its page and log in with `hf auth login`"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "the server has no such repository, or it is private"
    if isinstance(error, errors.RevisionNotFoundError):
        return "the repository has no such revision"
    if isinstance(error, errors.EntryNotFoundError) and not isinstance(error, errors.LocalEntryNotFoundError):
        return f"the repository has no file {file or 'of weights'}"
    text = re.sub(r"\s+", " ", str(error))[:200]
    return (
        f"could not be downloaded ({type(error).__name__}: {text}); check the connection, or download "
        "the file elsewhere and give its path"
    )


def _imported(spec: str) -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.constants
        import huggingface_hub.errors
    except ImportError as error:
        missing = error.name or "huggingface_hub"
        raise SourceError(
            f'{spec}: needs {missing}, which is not installed here: pip install "fdikp-edge[hf]"'
        ) from None
    return huggingface_hub
