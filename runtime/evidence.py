"""What was measured of an artifact: each check and each timing, with when, where and with what.

The passport keeps them as a list. A device adds its own to those of the machine that built the artifact; a
smaller check never replaces a larger one.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, cast

from . import fields as read
from .fields import wrong
from .strict_json import all_printable, printable

Measured = Literal["parity", "latency"]

MAX_EVIDENCE = 32
"""Entries that a passport keeps; beyond that the oldest go that are not the best of their kind."""

GOLDEN_INPUT = "golden input"
"""The name of the only sample of a check against golden data."""

_STATES = ("unverified", "verified", "failed")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evidence:
    """One check or one timing.

    ``measured`` says which; ``when`` is ISO 8601 in UTC, empty in passports of format 1 and 2; ``where`` is
    the machine and ``using`` the session (runtime, version, device, threads), as plain JSON. ``against`` is
    ``eager`` (PyTorch), ``golden`` (its recorded result) or empty (nothing to compare with); of a timing
    ``eager`` says that PyTorch was timed beside it. ``samples`` names what it was checked on. ``figures`` are
    those of ``parity`` or ``latency_ms`` in the passport; ``state`` and ``reason`` are a check's verdict.
    """

    measured: Measured
    when: str
    where: dict[str, Any]
    using: dict[str, Any]
    against: str
    samples: tuple[str, ...] = ()
    figures: dict[str, Any]
    state: str = ""
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**values, "samples": list(self.samples)}

    def repeats(self, other: Evidence) -> bool:
        """Whether this is the same measurement, of the same things at the same place."""
        return self._conditions() == other._conditions()

    def _conditions(self) -> tuple[object, ...]:
        place = tuple(str(self.where.get(key)) for key in ("cpu", "os"))
        keys = ("runtime", "device") + (("threads",) if self.measured == "latency" else ())
        with_what = tuple(str(self.using.get(key)) for key in keys)
        return (self.measured, self.against, frozenset(self.samples), place, with_what)


def parity_evidence(
    figures: Mapping[str, Any], state: str, reason: str, *, where: Mapping[str, Any], using: Mapping[str, Any]
) -> Evidence:
    """Return the record of a check whose figures are those of a parity (its ``to_dict``)."""
    figures = all_printable(figures)  # names of photos may hold what no JSON of ours does
    samples = tuple(_names(figures.get("photos")))
    return Evidence(
        measured="parity",
        when=_now(),
        where=dict(where),
        using=dict(using),
        against="golden" if samples == (GOLDEN_INPUT,) else "eager",
        samples=samples,
        figures=dict(figures),
        state=state,
        reason=printable(reason),
    )


def latency_evidence(
    figures: Mapping[str, Any], *, where: Mapping[str, Any], using: Mapping[str, Any]
) -> Evidence:
    """Return the record of a timing, milliseconds; PyTorch was timed beside it if there is ``eager_p50``."""
    return Evidence(
        measured="latency",
        when=_now(),
        where=dict(where),
        using=dict(using),
        against="eager" if "eager_p50" in figures else "",
        figures=dict(figures),
    )


def _names(photos: object) -> Iterator[str]:
    """Yield the names of the samples in the figures of a parity, each once; passports come from anywhere."""
    seen: set[str] = set()
    for photo in photos if isinstance(photos, (list, tuple)) else ():
        name = photo.get("photo") if isinstance(photo, dict) else None
        if isinstance(name, str) and name not in seen:
            seen.add(name)
            yield name


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def earlier(
    parity: dict[str, Any] | None, latency_ms: dict[str, Any] | None, where: Any, state: str, reason: str
) -> list[Evidence]:
    """Return what a passport of format 1 or 2 knows as evidence; when and with what was not recorded."""
    place = where if isinstance(where, dict) else {}
    evidence = []
    if parity is not None:
        evidence.append(parity_evidence(parity, state, reason, where=place, using={}))
    if latency_ms is not None:
        evidence.append(latency_evidence(latency_ms, where=place, using={}))
    return [dataclasses.replace(entry, when="") for entry in evidence]


def added(evidence: Sequence[Evidence], new: Sequence[Evidence]) -> list[Evidence]:
    """Return evidence with ``new`` after it; what a new entry repeats is replaced by it."""
    kept = [entry for entry in evidence if not any(other.repeats(entry) for other in new)]
    kept += new
    keep = [best(kept, measured) for measured in ("parity", "latency")]
    for entry in list(kept):
        if len(kept) <= MAX_EVIDENCE:
            break
        if not any(entry is other for other in keep):
            kept.remove(entry)
    return kept


def best(evidence: Sequence[Evidence], measured: str) -> Evidence | None:
    """Return the entry that says most; the newest among equals, ``None`` without any.

    A failed check comes before all others, since only the same check again undoes it. Then PyTorch eager
    counts more than golden data, its float64 more than float32 alone, and more samples more than fewer.
    Of timings those beside PyTorch count more.
    """
    ranked = [(_rank(entry), index) for index, entry in enumerate(evidence) if entry.measured == measured]
    return evidence[max(ranked)[1]] if ranked else None


def _rank(entry: Evidence) -> tuple[object, ...]:
    beside_eager = entry.against == "eager"
    if entry.measured == "latency":
        return (beside_eager,)
    double = entry.figures.get("float64") is not None
    return (_STATES.index(entry.state), beside_eager, double, len(entry.samples))


def from_list(value: Any, where: str) -> list[Evidence]:
    """Read what :meth:`Evidence.to_dict` wrote.

    Raises:
        FieldError: an entry with another form, or too many.
    """
    entries = read.items(value, where)
    if len(entries) > MAX_EVIDENCE:
        raise wrong(where, f"{len(entries)} entries, more than the {MAX_EVIDENCE} allowed")
    return [_entry(entry, f"{where}[{i}]") for i, entry in enumerate(entries)]


def _entry(value: Any, where: str) -> Evidence:
    keys = read.record(value, where, [field.name for field in dataclasses.fields(Evidence)])
    measured = read.choice(keys["measured"], ("parity", "latency"), f"{where}.measured")
    samples = read.items(keys["samples"], f"{where}.samples")
    states = _STATES if measured == "parity" else ("",)
    return Evidence(
        measured=cast(Measured, measured),
        when=read.text(keys["when"], f"{where}.when", empty=True),
        where=read.mapping(keys["where"], f"{where}.where"),
        using=read.mapping(keys["using"], f"{where}.using"),
        against=read.choice(keys["against"], ("eager", "golden", ""), f"{where}.against"),
        samples=tuple(read.text(name, f"{where}.samples", empty=True) for name in samples),
        figures=read.mapping(keys["figures"], f"{where}.figures"),
        state=read.choice(keys["state"], states, f"{where}.state"),
        reason=read.text(keys["reason"], f"{where}.reason", empty=True),
    )
