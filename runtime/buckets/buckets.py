"""Buckets: artifacts of one network that differ in size, and the choice of one for a photo or for arrays.

A folder of buckets holds one artifact for each size, called by it (``256x256``, ``720x1280``). There is no
index: the passports say what there is. Like an artifact, the folder may come from anywhere.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..artifact import Artifact
from ..errors import ArtifactError, BadInputError, SizeError
from ..passport import Passport
from ..tensors import TensorContract, described
from ..tiles.runner import photo_scale
from ..tiles.tiling import Tiling
from .folders import is_artifact, size_folders

MAX_BUCKETS = 64


AUTO_HALO = 16
"""Most halo that tiles chosen by measurement blend with, unless the caller asks for more.

Against the network run on the whole picture at once, more of it did not lower the error of tiles of 256 and
512 pixels (``python -m fdikp_edge.benchmarks.studies.large_photo``)."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """The time of a tile of each bucket on this machine, in milliseconds, by the artifact's folder."""

    milliseconds: Mapping[Path, float]

    @staticmethod
    def halo(tile: tuple[int, int], halo: int | None) -> int:
        """Return the halo of a tile: as asked for, else an eighth of it, at most :data:`AUTO_HALO`."""
        return min(min(tile) // 8, AUTO_HALO) if halo is None else halo


@dataclasses.dataclass(frozen=True)
class Buckets:
    """Artifacts of one network for one target at one precision, each of another size; or one artifact alone.

    ``artifacts`` are sorted by the shapes that they take.
    """

    path: Path
    artifacts: tuple[Artifact, ...]

    @classmethod
    def open(cls, path: str | Path) -> Buckets:
        """Open and check a folder of buckets, or an artifact as the only bucket.

        Raises:
            ArtifactError: neither of them; more than :data:`MAX_BUCKETS` buckets, a link among them, one that
                is no sound artifact, two of the same shapes, or two that differ in more than their sizes.
        """
        folder = Path(path)
        places = [] if is_artifact(folder) else size_folders(folder)
        if not places:
            return cls(folder, (Artifact.open(folder),))
        if len(places) > MAX_BUCKETS:
            raise ArtifactError(f"{folder}: holds {len(places)} sizes; at most {MAX_BUCKETS} are read")
        artifacts = sorted((_opened(place) for place in places), key=_shapes)
        first = artifacts[0]
        for one, other in itertools.pairwise(artifacts):
            for what, value in _shared(one.passport).items():
                if _shared(other.passport)[what] != value:
                    raise ArtifactError(
                        f"{folder}: {one.path.name} and {other.path.name} differ in {what}, so they are no "
                        "buckets of one network; build all sizes in one command"
                    )
            if _shapes(one) == _shapes(other):
                raise ArtifactError(
                    f"{folder}: {one.path.name} and {other.path.name} are built for the same size; remove "
                    "one of them"
                )
        return cls(first.path.parent, tuple(artifacts))

    @property
    def passport(self) -> Passport:
        """The passport of the first bucket; all say the same of the network, its target and precision."""
        return self.artifacts[0].passport

    def name_of(self, artifact: Artifact) -> str:
        """Return the folder name of one of several buckets; empty for an artifact alone."""
        return artifact.path.name if len(self.artifacts) > 1 else ""

    def for_photo(
        self,
        height: int,
        width: int,
        halo: int | None = None,
        measured: Measured | None = None,
    ) -> Artifact:
        """Return the bucket that a photo of ``height`` x ``width`` pixels goes through soonest.

        That is the one with the least number of tiles times the measured time of a tile if all buckets were
        timed on one machine in stable measurements, else times the pixels of a tile. Between equals, the one
        with fewer tiles.

        Args:
            height: of the photo, in pixels.
            width: of the photo, in pixels.
            halo: as :class:`~fdikp_edge.runtime.deblurrer.Deblurrer` takes it; buckets that it is too large
                for are left out.
            measured: times to use instead of the passports'; tiles then have its halo.

        Raises:
            BadInputError: the network does not map photos to photos, or the halo is too large for all.
        """
        scales = {photo_scale(artifact) for artifact in self.artifacts}
        if len(scales) > 1:
            raise BadInputError(f"{self.path}: the buckets enlarge a photo by different factors")
        times = _times(self.artifacts)
        if measured is not None:
            times = [measured.milliseconds.get(artifact.path, math.inf) for artifact in self.artifacts]
        costs: list[tuple[float, int, int]] = []
        problem: BadInputError | None = None
        for index, artifact in enumerate(self.artifacts):
            tile = artifact.passport.input.size
            try:
                wanted = halo if measured is None else measured.halo(tile, halo)
                tiles = Tiling.of(tile, wanted).grid(height, width).tiles
            except BadInputError as error:
                problem = error
                continue
            costs.append((tiles * (times[index] if times else math.prod(tile)), tiles, index))
        if problem is not None and not costs:
            raise problem
        return self.artifacts[min(costs)[-1]]

    def for_shapes(self, shapes: Mapping[str, tuple[int, ...]]) -> Artifact:
        """Return the bucket that takes arrays of exactly these shapes, by the names of the inputs.

        Leading sides of 1 count for nothing. Names that are no inputs are left alone, and so are inputs
        that have no shape here.

        Raises:
            SizeError: no bucket does; lists the shapes that there are.
        """
        for artifact in self.artifacts:
            ends = [end for end in artifact.passport.inputs if end.name in shapes]
            if all(_plain(end.shape) == _plain(shapes[end.name]) for end in ends):
                return artifact
        given = ", ".join(
            f"{end.name} {list(shapes[end.name])}" for end in self.passport.inputs if end.name in shapes
        )
        there = "; ".join(described(artifact.passport.inputs) for artifact in self.artifacts)
        raise SizeError(f"{self.path}: no bucket takes {given}; there are: {there}")


def _opened(place: Path) -> Artifact:
    if place.is_symlink():
        raise ArtifactError(f"{place}: is a link; the buckets of a folder lie in it")
    return Artifact.open(place)


def _shapes(artifact: Artifact) -> list[tuple[int, ...]]:
    return [contract.shape for contract in artifact.passport.inputs]


def _plain(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without leading sides of 1."""
    for index, side in enumerate(shape):
        if side != 1:
            return shape[index:]
    return ()


def _shared(passport: Passport) -> dict[str, Any]:
    """Return what all buckets of a folder agree in, each under the name that an error gives it."""
    return {
        "model": passport.model,
        "weights": passport.weights_sha256,
        "target": passport.target,
        "precision": passport.precision,
        "image contract": passport.contract,
        "inputs": [_without_size(contract) for contract in passport.inputs],
        "outputs": [_without_size(contract) for contract in passport.outputs],
    }


def _without_size(contract: TensorContract) -> tuple[Any, ...]:
    channels = contract.channels if contract.is_picture else None
    shapeless = dataclasses.replace(contract, shape=())
    return shapeless, len(contract.shape), channels


def _times(artifacts: tuple[Artifact, ...]) -> list[float]:
    """Return the measured milliseconds of each, if stable and all of one machine; else nothing."""
    times: list[float] = []
    machines = []
    for artifact in artifacts:
        latency, machine = artifact.passport.latency_ms or {}, artifact.passport.measured_on
        p50 = latency.get("p50")
        if isinstance(p50, bool) or not isinstance(p50, int | float) or not 0 < p50 < math.inf:
            return []
        if machine is None or latency.get("stable") is not True:
            return []
        times.append(float(p50))
        machines.append({key: value for key, value in machine.items() if key != "load"})
    return times if all(machine == machines[0] for machine in machines) else []
