"""The head of the report: whether the artifacts pass, and which one is best in which respect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .words import counted


@dataclass(frozen=True)
class Fact:
    """One tile: its title, the artifact, and the figure behind it."""

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
        tone, text = "unsure", f"{every} not verified"
    elif open_:
        tone, text = "unsure", f"{len(good)} of {every} verified, {len(open_)} not verified"
    else:
        verb = "matches" if len(rows) == 1 else "match"
        tone, text = "good", f"{len(good)} of {every} {verb} PyTorch within budget"
    return Verdict(tone, text, tuple(details), tuple(_facts(good)))


def _facts(good: Sequence[dict[str, Any]]) -> list[Fact]:
    """The best of the verified rows in each respect."""
    facts = []
    timed = [row for row in good if row["times"].get("p50")]
    if timed:
        best = min(timed, key=lambda row: row["times"]["p50"])
        against = f", {best['ratio']} than PyTorch eager" if best["ratio"] else ""
        doubt = "; unstable measurement" if best["steady"] is False else ""
        facts.append(Fact("Fastest", best["name"], f"median {best['p50']} ms{against}{doubt}"))
    weighed = [row for row in good if row["weight"]]
    if weighed:
        best = min(weighed, key=lambda row: row["weight"])
        facts.append(Fact("Smallest", best["name"], f"{best['bytes']} on disk"))
    held = [row for row in good if row["share"] is not None]
    if held:
        least = min(held, key=lambda row: row["share"])
        exact = min(
            (row for row in held if row["max_abs"]), key=lambda row: float(row["max_abs"]), default=least
        )
        scale = "relative to the largest magnitude" if exact["is_tensor"] else "on a 0 to 1 scale"
        facts.append(Fact("Smallest error", exact["name"], f"largest difference {exact['max_abs']} {scale}"))
    return facts
