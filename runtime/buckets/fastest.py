"""What is fastest on this machine now, by a few runs and without believing passports: the size of tiles, and
one session of many threads or several of few."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from concurrent import futures
from pathlib import Path

import numpy as np

from ..artifact import Artifact
from ..errors import BadInputError
from ..photo import Array
from ..sessions import Session, available_threads
from ..tiles.tiling import Tiling
from .buckets import Buckets, Measured
from .opened import OpenBuckets

_RUNS = 3
MAX_SESSIONS = 4
"""Most sessions that are opened without being asked for: each holds the model and its memory."""


def jobs_for(buckets: Buckets, jobs: int | None, threads: int | None, tile: str) -> int:
    """Return how many sessions to run at once: as asked for; else one, or measured with ``tile`` ``auto``.

    Two kinds are measured: one session with all processors, and a session for each processor, at most
    :data:`MAX_SESSIONS`. Whoever says how many threads a session has gets one.

    Raises:
        ArtifactError, TargetUnavailableError, RunError: the smallest bucket cannot be opened or run.
    """
    most = min(available_threads(), MAX_SESSIONS)
    if jobs is not None or threads is not None or tile != "auto" or most == 1:
        return jobs or 1
    smallest = min(buckets.artifacts, key=lambda one: math.prod(one.passport.inputs[0].shape))
    alone = Buckets(smallest.path, (smallest,))
    times = {}
    for count in (1, most):
        with OpenBuckets(alone, jobs=count) as opened:
            times[count] = _milliseconds(opened.sessions(smallest, count))
    return min(times, key=lambda count: times[count])


def measure(opened: OpenBuckets, halo: int | None) -> Measured:
    """Time a tile of each bucket that can take ``halo``, on the sessions that photos will go through.

    The figure is the shortest of a few runs. One bucket alone is not timed: there is no choice.

    Raises:
        ArtifactError, TargetUnavailableError, RunError: a bucket cannot be opened or run.
    """
    artifacts = opened.buckets.artifacts
    if len(artifacts) < 2:
        return Measured(dict.fromkeys((artifact.path for artifact in artifacts), 1.0))
    usable = [artifact for artifact in artifacts if _takes(artifact, halo)]
    times: dict[Path, float] = {}
    for artifact in usable:
        times[artifact.path] = _milliseconds(opened.sessions(artifact, opened.jobs))
    return Measured(times)


def _takes(artifact: Artifact, halo: int | None) -> bool:
    try:
        Tiling.of(artifact.passport.input.size, halo).grid(1, 1)
    except BadInputError:
        return False
    return True


def _milliseconds(sessions: Sequence[Session]) -> float:
    """Return the time of a tile while all sessions run: that of one round, by the number of sessions."""
    contract = sessions[0].input
    low, high = contract.limits
    random = np.random.default_rng(0).random(contract.shape, np.float32)
    tile: Array = (random * (high - low) + low).astype(contract.dtype)
    times = []
    with futures.ThreadPoolExecutor(len(sessions)) as threads:
        for _ in range(1 + _RUNS):  # the first run prepares memory
            began = time.perf_counter()
            list(threads.map(lambda session: session.run(tile), sessions))
            times.append(1e3 * (time.perf_counter() - began) / len(sessions))
    return min(times[1:])
