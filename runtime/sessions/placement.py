"""Where the operators of a model ran: on which device or by which kernels, and for what share of the time.

Each runtime tells this itself. A fallback is a place that was not asked for: another execution provider, a
reference kernel, the processor instead of an accelerator.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

REFERENCE = "reference"
"""The place of kernels that a runtime has for correctness, not for speed."""
MAX_EXAMPLES = 5
_SUM = 1e-12


@dataclass(frozen=True)
class Ran:
    """One operator of a run: its kind, the place, and its milliseconds (or, where a runtime only plans, an
    estimate in any unit); ``None`` where nothing tells."""

    operator: str
    place: str
    ms: float | None = None


@dataclass(frozen=True)
class Place:
    """What ran in one place. ``share`` is its part of the time of all operators, from 0 to 1, ``None`` where
    no times are known; ``examples`` are kinds of operators."""

    name: str
    operators: int
    share: float | None
    is_fallback: bool
    examples: tuple[str, ...]


@dataclass(frozen=True)
class Placement:
    """All places of a model, the longest first; ``source`` is what told."""

    source: str
    places: tuple[Place, ...]

    def problems(self, allowed: Collection[str] = ()) -> list[str]:
        """Say which fallbacks are not among those that are allowed by name."""
        return [
            f"{place.operators} operators ran on {place.name}, which was not asked for "
            f"({', '.join(place.examples)}); --allow-fallback {place.name} accepts it"
            for place in self.places
            if place.is_fallback and place.name not in allowed
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "source": self.source,
            "places": [
                {
                    "name": place.name,
                    "operators": place.operators,
                    "share": None if place.share is None else round(place.share, 4),
                    "fallback": place.is_fallback,
                    "examples": list(place.examples),
                }
                for place in self.places
            ],
        }

    def line(self) -> str:
        """Return the placement in words."""
        return ", ".join(
            f"{place.operators} on {place.name}" + ("" if place.share is None else f" ({place.share:.0%})")
            for place in self.places
        )


def collect(ran: Iterable[Ran], source: str, is_fallback: Collection[str] = ()) -> Placement:
    """Sum operators by place; ``is_fallback`` names the places that were not asked for."""
    by_place: dict[str, list[Ran]] = {}
    for entry in ran:
        by_place.setdefault(entry.place, []).append(entry)
    timed = all(entry.ms is not None for entries in by_place.values() for entry in entries)
    whole = sum(entry.ms or 0.0 for entries in by_place.values() for entry in entries)
    places = [
        Place(
            name,
            len(entries),
            sum(entry.ms or 0.0 for entry in entries) / whole if timed and whole > _SUM else None,
            name in is_fallback,
            tuple(list(dict.fromkeys(entry.operator for entry in entries))[:MAX_EXAMPLES]),
        )
        for name, entries in by_place.items()
    ]
    return Placement(
        source, tuple(sorted(places, key=lambda place: (-(place.share or 0.0), -place.operators)))
    )


def kernel_place(kernel: str) -> str:
    """Return the place of an OpenVINO kernel such as ``jit_avx2_f32``: its name, or :data:`REFERENCE`."""
    return REFERENCE if re.match(r"ref(_|$)", kernel) else kernel or "unknown"


def layers_on_dla(log: str) -> frozenset[str]:
    """Return the layers that TensorRT's builder lists as running on a DLA: ``[DlaLayer] {ForeignNode[...]}``.

    Its engines name parts on a DLA and parts on the GPU alike.
    """
    return frozenset(re.findall(r"\[DlaLayer\]\s*(\S[^\n]*?),?\s*$", log, re.MULTILINE))
