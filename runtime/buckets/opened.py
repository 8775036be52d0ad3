"""The sessions of buckets."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from ..artifact import Artifact
from ..sessions import Session, open_session
from .buckets import Buckets


class OpenBuckets:
    """The sessions of buckets, each opened when it is first needed and then kept; a context manager."""

    def __init__(self, buckets: Buckets, *, threads: int | None = None) -> None:
        """Take the buckets, and what :func:`..sessions.open_session` takes; nothing is opened yet."""
        self.buckets = buckets
        self._threads = threads
        self._sessions: dict[Path, Session] = {}

    def session(self, artifact: Artifact) -> Session:
        """Return the session of one of the buckets; raises as :func:`..sessions.open_session`."""
        if artifact.path not in self._sessions:
            self._sessions[artifact.path] = open_session(artifact, threads=self._threads)
        return self._sessions[artifact.path]

    def any_session(self) -> Session:
        """Return a session that is open, or else the first bucket's: what says which runtime is here."""
        return next(iter(self._sessions.values()), None) or self.session(self.buckets.artifacts[0])

    def close(self) -> None:
        """Close all sessions that were opened."""
        while self._sessions:
            self._sessions.popitem()[1].close()

    def __enter__(self) -> OpenBuckets:
        """Return the buckets themselves."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the sessions."""
        self.close()
