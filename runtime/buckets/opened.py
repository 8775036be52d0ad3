"""The sessions of buckets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from ..artifact import Artifact
from ..sessions import Session, available_threads, open_session
from .buckets import Buckets


class OpenBuckets:
    """The sessions of buckets, each opened when it is first needed and then kept; a context manager."""

    def __init__(self, buckets: Buckets, *, threads: int | None = None, jobs: int = 1) -> None:
        """Take the buckets; nothing is opened yet.

        Args:
            buckets: what to open.
            threads: of each session; when ``None``, an equal share of the processors.
            jobs: sessions that the tiles of one photo go through at once.
        """
        self.buckets, self.jobs = buckets, jobs
        self._threads = threads
        self._sessions: dict[tuple[int, Path], list[Session]] = {}

    def session(self, artifact: Artifact) -> Session:
        """Return one session of one of the buckets; raises as :func:`..sessions.open_session`."""
        return self.sessions(artifact, 1)[0]

    def sessions(self, artifact: Artifact, tiles: int) -> Sequence[Session]:
        """Return the sessions for a photo of so many tiles: one, which then has the threads of all, if there
        are fewer tiles than sessions. Raises as :meth:`session`."""
        count = self.jobs if tiles >= self.jobs else 1
        opened = self._sessions.setdefault((count, artifact.path), [])
        while len(opened) < count:
            share = max(1, available_threads() // count) if self._threads is None else self._threads
            opened.append(open_session(artifact, threads=share))
        return opened

    def any_session(self) -> Session:
        """Return a session that is open, or else the first bucket's: what says which runtime is here."""
        for _, opened in sorted(self._sessions.items(), reverse=True):
            if opened:
                return opened[0]
        return self.session(self.buckets.artifacts[0])

    def describe(self) -> dict[str, Any]:
        """Say what runs, as :meth:`..sessions.base.Session.describe` does; with ``sessions`` if several run
        at once."""
        count = max((len(opened) for opened in self._sessions.values()), default=1)
        return {**self.any_session().describe(), **({"sessions": count} if count > 1 else {})}

    def close(self) -> None:
        """Close all sessions that were opened."""
        while self._sessions:
            for session in self._sessions.popitem()[1]:
                session.close()

    def __enter__(self) -> OpenBuckets:
        """Return the buckets themselves."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the sessions."""
        self.close()
