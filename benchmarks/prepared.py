"""What the artifacts of one network share: the programs that it lowers to, and their calibration table."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..export.targets import Target
from ..models.sources.base import NetworkSource
from ..runtime.errors import TargetUnavailableError
from ..runtime.inputs import Sample
from ..runtime.photo import Photo
from ..runtime.samples import sample_photos
from .mixed_precision import Bounds, timed_mixed_precision

if TYPE_CHECKING:
    from torch import nn

    from ..export.calibrate import CalibrationTable
    from ..export.lowered import LoweredModel


@dataclass
class Prepared:
    """A network at one size, lowered once for each profile and calibrated once for all of them.

    Args:
        source: as :func:`fdikp_edge.export.lower_model` takes it, and so ``size``, ``name`` and ``contract``.
        targets: with the precisions to build them at; those that can be built here.
        table: the user's; one of the shipped photos is made when ``None``.
        bounds: what int8 must keep, judged on ``photo_pairs`` and timed with ``threads``.
    """

    source: NetworkSource
    size: tuple[int, int] | None
    name: str
    contract: str
    targets: Sequence[tuple[Target, str]]
    table: CalibrationTable | None
    bounds: Bounds | None
    photo_pairs: str | Path | None
    threads: int
    seconds: dict[str, float] = field(default_factory=dict)
    """Of the lowering for each profile."""
    told: Callable[[str], None] = lambda now: None
    """Called with a message during calibration, which takes minutes for a large network."""
    notes: dict[str, None] = field(default_factory=dict)
    """Notes on the photos and on mixed precision, each once."""
    _lowered: dict[str, LoweredModel] = field(default_factory=dict)
    _samples: list[Sample] = field(default_factory=list)
    _own_table: CalibrationTable | None = None

    def lowered(self, profile: str) -> LoweredModel:
        """Return the network lowered for a profile."""
        from ..export.lowered import lower_model

        if profile not in self._lowered:
            began = time.perf_counter()
            others = list(self._lowered.values())
            self._lowered[profile] = (
                others[0].for_profile(profile)
                if others
                else lower_model(
                    self.source, self.size, name=self.name, contract=self.contract, profile=profile
                )
            )
            self.seconds[profile] = time.perf_counter() - began
        return self._lowered[profile]

    @functools.cached_property
    def network(self) -> nn.Module:
        """The network itself."""
        return self.source.load()

    @property
    def weights_sha256(self) -> str:
        """Hash of the network's weights."""
        from ..models.zoo import weights_sha256

        return weights_sha256(self.network)

    @property
    def extent(self) -> tuple[int, ...]:
        """Height and width of the first input if that is a picture, else its shape."""
        return self.source.extent(self.size)

    def samples(self, model: LoweredModel, photo: Photo | None) -> list[Sample]:
        """Return what the network is verified and timed on: the photo first, then the other samples."""
        from ..export.inputs import samples_of

        if not self._samples:
            if photo is not None and model.takes_photos and model.source.samples is None:
                others = [path for path in sample_photos() if path != photo.source]
                self._samples = samples_of(model.source, model.inputs, [photo, *others])
            else:
                given = samples_of(model.source, model.inputs)
                own = samples_of(model.source, model.inputs, [photo]) if photo and model.takes_photos else []
                self._samples = [*own, *given]
        return self._samples

    def table_for(self, target: Target, precision: str) -> CalibrationTable | None:
        """Return a target's table, with mixed precision if there are bounds; ``None`` if it needs no table.

        Raises:
            CalibrationError: the network cannot be calibrated, or the user's table does not fit.
            CheckFailedError: the bounds cannot be met.
        """
        if precision not in target.calibrated:
            return None
        model = self.lowered(target.profile)
        # Its part alone, so that no artifact hangs on what else was built beside it.
        table = self.table or self._calibrated(precision).only(model.lowered.key)
        self.notes |= dict.fromkeys(f"calibration: {note}" for note in table.notes)
        if precision == "int8" and self.bounds is not None:
            try:
                return timed_mixed_precision(
                    model, table, self.bounds, target, pairs=self.photo_pairs, threads=self.threads
                )
            except TargetUnavailableError as error:  # built all the same, as it would be without bounds
                self.notes[f"{error}; all of its int8 layers stay in int8"] = None
        return table

    def _calibrated(self, precision: str) -> CalibrationTable:
        """Return a table for all profiles that need one, so that the photos are run once for each program.

        For fp16 it is the same whether or not int8 is built beside it.
        """
        from ..export.calibrate import calibrate

        if self._own_table is None:
            needed = [(row.profile, own) for row, own in self.targets if own in row.calibrated]
            models = []
            for profile in dict.fromkeys(profile for profile, _ in needed):
                with contextlib.suppress(Exception):  # which its own artifacts will meet and report
                    models.append(self.lowered(profile))
            self._own_table = calibrate(
                models,
                for_int8=any(own != "fp16" for _, own in needed),
                progress=lambda done, total, now: self.told(f"calibrating: {now}, {done} of {total} tiles"),
            )
        return self._own_table.for_fp16() if precision == "fp16" else self._own_table
