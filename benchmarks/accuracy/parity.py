"""Does an artifact compute what the network does? Measured on photos, against PyTorch eager."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from ...runtime.errors import BadInputError, CheckFailedError
from ...runtime.images import read_photo
from ...runtime.passport import TensorContract
from ...runtime.photo import Array, Photo
from ...runtime.pixels import crop, psnr_db
from ...runtime.progress import Progress
from ...runtime.samples import sample_photos
from ...runtime.sessions import Session
from .budgets import Budget, budget_for
from .metrics import Band, bands, ssim

GOLDEN_ONLY = "against the golden output of one photo"
"""What a verdict says where :func:`verify_golden` was all that could be done."""


class ReferenceCall(Protocol):
    """What :class:`fdikp_edge.export.Reference` is: the network in eager, at either precision."""

    def __call__(self, x: Array, arithmetic: Any = "float32") -> Array:
        """Return the network's answer for ``x``."""
        ...


@dataclass(frozen=True)
class Difference:
    """How one result differs from its reference, with white at 1."""

    photo: str
    max_abs: float
    mean_abs: float
    psnr_db: float
    ssim: float
    bands: tuple[Band, ...]

    @property
    def badness(self) -> tuple[float, float]:
        """Orders photos by how bad they came out: the lowest PSNR is worst, then the largest difference."""
        return -self.psnr_db, self.max_abs


@dataclass(frozen=True)
class Parity:
    """The worst over all photos, each figure by itself, against float32 eager; ``problems`` says what failed.

    ``float64`` holds the same largest difference and PSNR against float64 eager, and beside them those of
    float32 eager itself: an artifact cannot be blamed for what its reference does not know either. ``remark``
    says why there is none where the network does not run in float64.
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


def verify(
    session: Session,
    reference: ReferenceCall,
    photos: Sequence[Photo | Path | str] = (),
    *,
    progress: Progress | None = None,
    seen: Callable[[Difference, Array, Array], None] | None = None,
) -> Parity:
    """Run a session and the reference on the middle of each photo and compare.

    Args:
        session: an opened artifact; its passport's precision decides the budget.
        reference: the network in eager.
        photos: photographs or their paths; the samples of this package when empty.
        progress: called with (done, total, photo).
        seen: told the difference of each photo, and what the session and the float32 reference made of it
            (height x width x 3, float64, white at 1).

    Raises:
        CheckFailedError: the artifact returned NaN or infinity.
        ImageError: a path that is not a readable photograph.
    """
    chosen: Sequence[Photo | Path | str] = photos or sample_photos()
    differences, doubles = [], []
    for number, given in enumerate(chosen):
        photo = given if isinstance(given, Photo) else read_photo(given)
        name = photo.source.name if photo.source is not None else f"photo {number + 1}"
        if progress is not None:
            progress(number, len(chosen), name)
        x = crop(photo, session.input)
        found = as_picture(session.run(x), session.output, name)
        single = as_picture(reference(x), session.output, name)
        double = as_picture(reference(x, "float64"), session.output, name)
        differences.append(compare(found, single, name))
        if seen is not None:
            seen(differences[-1], found, single)
        doubles.append((found - double, single - double))
    if remark := getattr(reference, "float64_problem", ""):
        return dataclasses.replace(_worst(differences, None, session), remark=remark)
    return _worst(differences, _against_double(doubles), session)


def verify_golden(session: Session) -> Parity:
    """Compare a session with the output recorded in its artifact. Needs no torch: the check for a device.

    Raises:
        ArtifactError: the artifact carries no golden input and output.
        CheckFailedError: it returned NaN or infinity.
    """
    x, recorded = session.artifact.golden()
    name = "golden input"
    found = as_picture(session.run(x), session.output, name)
    return _worst([compare(found, as_picture(recorded, session.output, name), name)], None, session)


def compare(found: Array, expected: Array, photo: str) -> Difference:
    """Measure the difference of two pictures (height x width x 3, float64, white at 1)."""
    size = np.abs(found - expected)
    return Difference(
        photo=photo,
        max_abs=float(size.max()),
        mean_abs=float(size.mean()),
        psnr_db=psnr_db(found, expected),
        ssim=ssim(found, expected) if min(found.shape[:2]) >= 11 else 1.0,
        bands=tuple(bands(found, expected)),
    )


def as_picture(array: Array, contract: TensorContract, photo: str) -> Array:
    """Return a result as height x width x channels in float64 with white at 1, not clamped.

    Raises:
        CheckFailedError: it holds NaN or infinity.
        BadInputError: it has another shape than the contract's.
    """
    if array.shape != contract.shape:
        raise BadInputError(f"{contract.name}: expected {list(contract.shape)}, got {list(array.shape)}")
    low, high = contract.value_range
    values: Array = (array[0].astype(np.float64) - low) / (high - low)
    if not np.isfinite(values).all():
        count = int(values.size - np.isfinite(values).sum())
        raise CheckFailedError(f"{count} of {values.size} results for {photo} are NaN or infinite")
    return values.transpose(1, 2, 0) if contract.layout == "NCHW" else values


def _against_double(doubles: list[tuple[Array, Array]]) -> dict[str, float]:
    zero = np.zeros((1, 1, 1))
    return {
        "max_abs": max(float(np.abs(own).max()) for own, _ in doubles),
        "psnr_db": min(psnr_db(own, zero) for own, _ in doubles),
        "eager_max_abs": max(float(np.abs(eager).max()) for _, eager in doubles),
        "eager_psnr_db": min(psnr_db(eager, zero) for _, eager in doubles),
    }


def _worst(differences: list[Difference], float64: dict[str, float] | None, session: Session) -> Parity:
    worst = max(differences, key=lambda difference: difference.badness)
    max_abs = max(d.max_abs for d in differences)
    budget = budget_for(session.artifact.passport.precision, session.output.dtype)
    problems = budget.problems(max_abs, worst.psnr_db)
    if problems and session.remark:
        problems[-1] += f": {session.remark}"
    by_band = zip(*(d.bands for d in differences), strict=True)
    return Parity(
        max_abs=max_abs,
        mean_abs=max(d.mean_abs for d in differences),
        psnr_db=worst.psnr_db,
        ssim=min(d.ssim for d in differences),
        bands=tuple(max(column, key=lambda band: band.rel_error_db) for column in by_band),
        float64=float64,
        budget=budget,
        problems=tuple(problems),
        worst_photo=worst.photo,
        photos=tuple(differences),
    )
