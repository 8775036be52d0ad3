"""Where the rows of a report were measured: on one machine, or, in a merged report, on several devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import words as say


def machines(
    report: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]
) -> tuple[list[dict[str, Any]], list[str | None]]:
    """Return the machines of a report, and the name of each row's where there are several.

    A merged report names a ``device`` in each artifact, and holds their facts by name under ``devices`` of
    its ``machine``. A machine is ``{"name", "line", "facts"}``: its name, it in one line, all that is known.
    """
    facts = say.table(report.get("machine"))
    whose = [say.words(entry.get("device")) for entry in entries]
    if not any(whose):
        described = [_machine(say.machine_name(facts), facts)] if facts else []
        return described, [None] * len(entries)
    devices = say.table(facts.get("devices"))
    names = [name or "device not recorded" for name in whose]
    known = dict.fromkeys(names)
    return [_machine(name, say.table(devices.get(name))) for name in known], list(names)


def name_rows(rows: Sequence[dict[str, Any]], whose: Sequence[str | None]) -> None:
    """Name every row; network, size and machine appear only where they differ between rows.

    ``short`` is its name without the machine, the same for what can be compared across machines.
    """
    several = len(set(whose)) > 1
    for key in ("model", "size"):
        differs = len({row[key] for row in rows}) > 1
        for row in rows:
            row[f"{key}_shown"] = row[key] if differs else None
    for row, machine in zip(rows, whose, strict=True):
        parts = (row["model_shown"], row["target"], row["precision"], row["size_shown"])
        row["short"] = " ".join(part for part in parts if part) or f"artifact {row['index']}"
        row["machine"] = machine if several else None
        row["name"] = f"{row['short']} · {machine}" if several else row["short"]


def comparison(rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Return what can be compared across machines: names, and a row for each artifact with one cell for each.

    A cell is the machine's row, or ``None``; ``fastest`` is the machine with the lowest median of those where
    the artifact is verified, if more than one timed it. ``None`` for a report of one machine.
    """
    names = list(dict.fromkeys(row["machine"] for row in rows if row["machine"]))
    if len(names) < 2:
        return None
    groups: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["short"], {}).setdefault(row["machine"], row)
    lines = []
    for short, cells in groups.items():
        times = {
            name: row["times"]["p50"]
            for name, row in cells.items()
            if row["state"] == "verified" and "p50" in row["times"]
        }
        fastest = min(times, key=lambda name: times[name]) if len(times) > 1 else None
        lines.append({"name": short, "cells": [cells.get(name) for name in names], "fastest": fastest})
    return {"machines": names, "rows": lines}


def _machine(name: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    line = say.machine_line(facts)
    return {
        "name": name,
        "line": line if f"{line} · ".startswith(f"{name} · ") else f"{name} · {line}".rstrip(" ·"),
        "facts": say.flat(facts),
    }
