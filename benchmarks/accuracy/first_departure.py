"""What a bisection finds, as plain values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .budgets import Budget

NOT_FINITE_DB = -200.0


@dataclass(frozen=True)
class Error:
    """Largest difference and PSNR of a picture, white at 1; infinite and -200 dB where it is not finite.

    Of a tensor that is no picture: largest difference over the largest magnitude of the reference, and SNR.
    """

    max_abs: float
    psnr_db: float

    def to_dict(self) -> dict[str, float | bool | None]:
        """Return plain JSON values; ``max_abs`` is ``null`` where the result is not finite."""
        finite = math.isfinite(self.max_abs)
        return {
            "max_abs": self.max_abs if finite else None,
            "psnr_db": self.psnr_db if finite else None,
            "finite": finite,
        }

    def __str__(self) -> str:
        """Return both figures as text."""
        if not math.isfinite(self.max_abs):
            return "NaN or infinite"
        return f"{self.max_abs:.2e}, {self.psnr_db:.1f} dB"


@dataclass(frozen=True)
class FirstDeparture:
    """The module where the error passes the budget.

    ``module`` is its path, ``modules`` all of those between the two cuts (more than one only where the built
    model fused them into one value), ``operator`` the program's operators between the finest cuts and
    ``nodes`` their names. ``before`` and ``after`` are the errors with the artifact computing up to there and
    through there; ``alone`` with the artifact computing nothing else; ``repaired`` with the artifact
    computing all but that.
    """

    module: str
    modules: tuple[str, ...]
    operator: str
    nodes: tuple[str, ...]
    precision: str
    site: str
    before: Error
    after: Error
    alone: Error
    repaired: Error
    suggestion: str


@dataclass(frozen=True)
class Bisection:
    """Result of a bisection; ``departure`` is ``None`` if the artifact is within its budget.

    ``photo`` says which input it was on. ``result`` is the name of the result that was followed, the one with
    the largest share of its budget; empty where there is one alone.
    """

    artifact: Path
    against: str
    photo: str
    budget: Budget
    whole: Error
    departure: FirstDeparture | None
    modules: int
    cuts: int
    probes: int
    seconds: float
    notes: tuple[str, ...] = ()
    result: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        departure = None
        if self.departure is not None:
            departure = {
                **{k: v for k, v in vars(self.departure).items() if not isinstance(v, Error)},
                **{k: v.to_dict() for k, v in vars(self.departure).items() if isinstance(v, Error)},
            }
            departure |= {"modules": list(self.departure.modules), "nodes": list(self.departure.nodes)}
        return {
            "path": str(self.artifact),
            "against": self.against,
            "photo": self.photo,
            "result": self.result or None,
            "budget": self.budget.to_dict(),
            "error": self.whole.to_dict(),
            "departure": departure,
            "modules": self.modules,
            "cuts": self.cuts,
            "probes": self.probes,
            "seconds": round(self.seconds, 1),
            "notes": list(self.notes),
        }
