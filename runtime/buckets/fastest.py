"""Which of several sizes is fastest on this machine now: a few runs of each, without believing passports."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from ..artifact import Artifact
from ..errors import BadInputError
from ..photo import Array
from ..sessions import Session
from ..tiles.tiling import Tiling
from .buckets import Measured
from .opened import OpenBuckets

_RUNS = 3


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
        times[artifact.path] = _milliseconds(opened.session(artifact))
    return Measured(times)


def _takes(artifact: Artifact, halo: int | None) -> bool:
    try:
        Tiling.of(artifact.passport.input.size, halo).grid(1, 1)
    except BadInputError:
        return False
    return True


def _milliseconds(session: Session) -> float:
    contract = session.input
    low, high = contract.limits
    random = np.random.default_rng(0).random(contract.shape, np.float32)
    tile: Array = (random * (high - low) + low).astype(contract.dtype)
    session.run(tile)  # the first run prepares memory
    times = []
    for _ in range(_RUNS):
        began = time.perf_counter()
        session.run(tile)
        times.append(1e3 * (time.perf_counter() - began))
    return min(times)
