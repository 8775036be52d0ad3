"""Does an artifact compute what the network does? Measured on photos or arrays, against PyTorch eager."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from ...runtime.errors import BadInputError, CheckFailedError
from ...runtime.evidence import GOLDEN_INPUT
from ...runtime.images import read_photo
from ...runtime.inputs import Sample, noise
from ...runtime.photo import Array, Photo
from ...runtime.pixels import crop, psnr_db
from ...runtime.progress import Progress
from ...runtime.samples import sample_photos
from ...runtime.sessions import Session
from ...runtime.tensors import TensorContract, described
from . import tensor
from .budgets import Budget, Measure, budget_for
from .difference import Difference
from .metrics import Band, bands, ssim

GOLDEN_ONLY = "against the golden output of one photo"
"""What a verdict says where :func:`verify_golden` was all that could be done."""


class ReferenceCall(Protocol):
    """What :class:`fdikp_edge.export.Reference` is: the network in eager, at either precision."""

    def __call__(self, x: Any, arithmetic: Any = "float32") -> Any:
        """Return the network's results for arrays by name, by name."""
        ...


@dataclass(frozen=True)
class Parity:
    """The worst over all samples, each figure by itself, against float32 eager; ``problems`` says what
    failed.

    ``float64`` holds the same largest difference and PSNR against float64 eager, and beside them those of
    float32 eager itself: an artifact cannot be blamed for what its reference does not know either.
    ``measure`` says which of :class:`Difference`'s two scales the figures are on; where some outputs are
    pictures and some are not, they are those of the output that uses most of its budget. ``outputs`` has
    each output's own where there are several. ``remark`` says
    why there is no float64 reference where the network does not run in double precision.
    """

    max_abs: float
    mean_abs: float
    psnr_db: float
    ssim: float
    bands: tuple[Band, ...]
    float64: dict[str, float] | None
    budget: Budget
    problems: tuple[str, ...]
    worst_photo: str
    photos: tuple[Difference, ...]
    measure: Measure = "image"
    outputs: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    remark: str = ""

    @property
    def within_budget(self) -> bool:
        """Whether nothing is over the budget."""
        return not self.problems

    def verdict(self, *remarks: str) -> tuple[Literal["verified", "failed"], str]:
        """Return the state for a passport or a report, and why: the problems, or else those of ``remarks``
        that are not empty."""
        state: Literal["verified", "failed"] = "verified" if self.within_budget else "failed"
        return state, "; ".join(self.problems or filter(None, (*remarks, self.remark)))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, ``within_budget`` included."""
        return {**dataclasses.asdict(self), "within_budget": self.within_budget}


Given = Photo | Path | str | Sample
"""What :func:`verify` runs a network on: a photo, or arrays by name."""


def verify(
    session: Session,
    reference: ReferenceCall,
    samples: Sequence[Given] = (),
    *,
    progress: Progress | None = None,
    seen: Callable[[Difference, Array, Array], None] | None = None,
) -> Parity:
    """Run a session and the reference on each sample and compare.

    Args:
        session: an opened artifact; its passport's precision decides the budget.
        reference: the network in eager.
        samples: photographs or their paths, of which the middle is taken, for a network that takes one
            picture in colours; arrays by name for any. When empty the photos of this package, or else noise.
        progress: called with (done, total, sample).
        seen: told the difference of each picture, and what the session and the float32 reference made of it
            (height x width x channels, float64, white at 1).

    Raises:
        CheckFailedError: the artifact returned NaN or infinity.
        ImageError: a path that is not a readable photograph.
        BadInputError: samples that do not fit the artifact.
    """
    chosen = samples or default_samples(session.inputs)
    by_output = {contract.name: Differences(contract) for contract in session.outputs}
    for number, given in enumerate(chosen):
        sample = as_sample(given, session.inputs, number)
        if progress is not None:
            progress(number, len(chosen), sample.name)
        actual = session.run(sample.arrays)
        single, double = reference(sample.arrays), reference(sample.arrays, "float64")
        for name, differences in by_output.items():
            differences.add(sample.name, actual[name], single[name], double[name], seen)
    parity = summarise(list(by_output.values()), session)
    if remark := getattr(reference, "float64_problem", ""):
        return dataclasses.replace(parity, float64=None, remark=remark)
    return parity


def default_samples(inputs: Sequence[TensorContract]) -> Sequence[Given]:
    """Return what an artifact is tried on where nothing is given: photos, or noise in the value range."""
    return sample_photos() if len(inputs) == 1 and inputs[0].has_colors else noise(inputs)


def as_sample(given: Given, inputs: Sequence[TensorContract], number: int = 0) -> Sample:
    """Return a photo as a sample, its middle cut to the only input; a sample as it is.

    Raises:
        BadInputError: a photo for an artifact that takes something else.
        ImageError: a path that is not a readable photograph.
    """
    if isinstance(given, Sample):
        return given
    photo = given if isinstance(given, Photo) else read_photo(given)
    name = photo.source.name if photo.source is not None else f"photo {number + 1}"
    if len(inputs) != 1 or not inputs[0].has_colors:
        raise BadInputError(
            f"{name}: the artifact takes {described(inputs)}, not one picture in colours; give its inputs as "
            "arrays"
        )
    return Sample(name, {inputs[0].name: crop(photo, inputs[0])})


def verify_golden(session: Session) -> Parity:
    """Compare a session with the outputs recorded in its artifact. Needs no torch: the check for a device.

    Raises:
        ArtifactError: the artifact carries no golden input and output.
        CheckFailedError: it returned NaN or infinity.
    """
    inputs, recorded = session.artifact.golden()
    return compare_recorded(session, inputs, recorded, GOLDEN_INPUT)


def compare_recorded(
    session: Session, inputs: Mapping[str, Array], recorded: Mapping[str, Array], name: str
) -> Parity:
    """Compare what a session makes of inputs with recorded outputs; ``name`` is what the inputs are called.

    Raises:
        CheckFailedError: it returned NaN or infinity.
    """
    actual = session.run(inputs)
    outputs = [Differences(contract) for contract in session.outputs]
    for differences in outputs:
        output = differences.contract.name
        differences.add(name, actual[output], recorded[output])
    return summarise(outputs, session)


def compare(output: Array, expected: Array, photo: str) -> Difference:
    """Measure the difference of two pictures (height x width x 3, float64, white at 1)."""
    size = np.abs(output - expected)
    return Difference(
        photo=photo,
        max_abs=float(size.max()),
        mean_abs=float(size.mean()),
        psnr_db=psnr_db(output, expected),
        ssim=ssim(output, expected) if min(output.shape[:2]) >= 11 else 1.0,
        bands=tuple(bands(output, expected)),
    )


def as_picture(array: Array, contract: TensorContract, photo: str, index: int = 0) -> Array:
    """Return a result, the one at ``index`` of its batch, as height x width x channels in float64 with white
    at 1, not clamped.

    Raises:
        CheckFailedError: it holds NaN or infinity.
        BadInputError: it has another shape than the contract's.
    """
    if array.shape != contract.shape:
        raise BadInputError(f"{contract.name}: expected {list(contract.shape)}, got {list(array.shape)}")
    low, high = contract.limits
    values: Array = (array[index].astype(np.float64) - low) / (high - low)
    if not np.isfinite(values).all():
        count = int(values.size - np.isfinite(values).sum())
        raise CheckFailedError(f"{count} of {values.size} results for {photo} are NaN or infinite")
    return values.transpose(1, 2, 0) if contract.layout == "NCHW" else values


@dataclass
class Differences:
    """What the samples give for one output."""

    contract: TensorContract
    photos: list[Difference] = dataclasses.field(default_factory=list)
    doubles: list[tuple[float, float, float, float]] = dataclasses.field(default_factory=list)
    """Largest difference and PSNR from float64 eager, of the artifact and of float32 eager."""

    @property
    def measure(self) -> Measure:
        """Whether the output is measured as a picture or as a tensor."""
        return "image" if self.contract.has_colors else "tensor"

    def add(
        self,
        sample: str,
        actual: Array,
        single: Array,
        double: Array | None = None,
        seen: Callable[[Difference, Array, Array], None] | None = None,
    ) -> None:
        """Compare one result with the reference at both precisions; see :func:`verify`."""
        if self.measure == "tensor":
            self.photos.append(tensor.compare(actual, single, self.contract, sample))
            if double is not None:
                own, eager = (tensor.distance(x, double) for x in (actual, single))
                self.doubles.append((own.max_rel, own.snr_db, eager.max_rel, eager.snr_db))
            return
        for index in range(self.contract.shape[0]):
            name = sample if self.contract.shape[0] == 1 else f"{sample} [{index}]"
            one, other = (as_picture(x, self.contract, name, index) for x in (actual, single))
            self.photos.append(dataclasses.replace(compare(one, other, name), output=self.contract.name))
            if seen is not None:
                seen(self.photos[-1], one, other)
            if double is not None:
                truth = as_picture(double, self.contract, name, index)
                self.doubles.append(
                    (
                        float(np.abs(one - truth).max()),
                        psnr_db(one, truth),
                        float(np.abs(other - truth).max()),
                        psnr_db(other, truth),
                    )
                )

    def float64(self) -> dict[str, float] | None:
        """The worst against float64 eager."""
        if not self.doubles:
            return None
        own, own_db, eager, eager_db = zip(*self.doubles, strict=True)
        return {
            "max_abs": max(own),
            "psnr_db": min(own_db),
            "eager_max_abs": max(eager),
            "eager_psnr_db": min(eager_db),
        }


def summarise(outputs: Sequence[Differences], session: Session) -> Parity:
    """Return the verdict over all samples and outputs."""
    single = [_worst(differences, session) for differences in outputs]
    if len(single) == 1:
        return single[0]
    worst = max(single, key=lambda parity: parity.budget.spent(parity.max_abs, parity.psnr_db))
    problems = [
        f"{differences.contract.name}: {problem}"
        for differences, parity in zip(outputs, single, strict=True)
        for problem in parity.problems
    ]
    each = {
        differences.contract.name: {
            "measure": parity.measure,
            "max_abs": parity.max_abs,
            "mean_abs": parity.mean_abs,
            "psnr_db": parity.psnr_db,
            "worst_photo": parity.worst_photo,
            "within_budget": parity.within_budget,
        }
        for differences, parity in zip(outputs, single, strict=True)
    }
    everything = tuple(difference for parity in single for difference in parity.photos)
    return dataclasses.replace(worst, problems=tuple(problems), photos=everything, outputs=each)


def _worst(differences: Differences, session: Session) -> Parity:
    photos = differences.photos
    worst = max(photos, key=lambda difference: difference.badness)
    max_abs = max(d.max_abs for d in photos)
    precision = session.artifact.passport.precision
    budget = budget_for(precision, differences.contract.dtype, differences.measure)
    problems = budget.problems(max_abs, worst.psnr_db)
    if problems and session.remark:
        problems[-1] += f": {session.remark}"
    by_band = zip(*(d.bands for d in photos), strict=True)
    return Parity(
        max_abs=max_abs,
        mean_abs=max(d.mean_abs for d in photos),
        psnr_db=worst.psnr_db,
        ssim=min(d.ssim for d in photos),
        bands=tuple(max(column, key=lambda band: band.rel_error_db) for column in by_band),
        float64=differences.float64(),
        budget=budget,
        problems=tuple(problems),
        worst_photo=worst.photo,
        photos=tuple(photos),
        measure=differences.measure,
    )
