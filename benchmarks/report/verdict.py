"""What a reader takes away in ten seconds: whether the artifacts are good, and which to take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .words import counted, percent


@dataclass(frozen=True)
class Fact:
    """One tile: what it is about, the answer, and what that rests on."""

    title: str
    text: str
    detail: str


@dataclass(frozen=True)
class Verdict:
    """The head of a report. A tone is ``good``, ``bad``, ``unsure`` or ``off``; ``details`` have one each."""

    tone: str
    text: str
    details: tuple[tuple[str, str], ...]
    facts: tuple[Fact, ...]


def verdict(rows: Sequence[dict[str, Any]]) -> Verdict:
    """Judge the rows of a report, as :mod:`fdikp_edge.benchmarks.report.rows` makes them."""
    good = [row for row in rows if row["state"] == "verified"]
    bad = [row for row in rows if row["state"] == "failed"]
    open_ = [row for row in rows if row["state"] not in ("verified", "failed")]
    every = counted(len(rows), "artifact")
    details = [
        (row["tone"], f"{row['name']}: {row['reason']}" if row["reason"] else row["name"])
        for row in [*bad, *open_]
    ]
    if not rows:
        return Verdict("off", "No artifacts in this report", (), ())
    if bad:
        tone, text = "bad", f"{len(bad)} of {every} failed" if len(rows) > 1 else "The artifact failed"
    elif not good:
        tone, text = "unsure", f"Not verified: {every}"
    elif open_:
        tone, text = "unsure", f"{len(good)} of {every} verified, {len(open_)} not"
    else:
        which = f"All {len(rows)} artifacts do" if len(rows) > 1 else "The artifact does"
        tone, text = "good", f"{which} what the network does, within budget"
    return Verdict(tone, text, tuple(details), tuple(_facts(good)))


def _facts(good: Sequence[dict[str, Any]]) -> list[Fact]:
    """The best of the verified rows in each respect, and the one that comes closest to its budget."""
    facts = []
    timed = [row for row in good if row["times"].get("p50")]
    if timed:
        best = min(timed, key=lambda row: row["times"]["p50"])
        against = f", {best['ratio']} than PyTorch there" if best["ratio"] else ""
        doubt = "; not a steady measurement" if best["steady"] is False else ""
        facts.append(Fact("Fastest", best["name"], f"{best['p50']} ms at the median{against}{doubt}"))
    weighed = [row for row in good if row["weight"]]
    if weighed:
        best = min(weighed, key=lambda row: row["weight"])
        facts.append(Fact("Smallest", best["name"], f"{best['bytes']} to load"))
    held = [row for row in good if row["share"] is not None]
    if held:
        worst = max(held, key=lambda row: row["share"])
        least = min(held, key=lambda row: row["share"])
        facts.append(Fact("Most of its budget used", worst["name"], f"{percent(worst['share'])} of it"))
        exact = min(
            (row for row in held if row["max_abs"]), key=lambda row: float(row["max_abs"]), default=least
        )
        facts.append(
            Fact("Most exact", exact["name"], f"differs by {exact['max_abs']} at most, white being 1")
        )
    return facts
