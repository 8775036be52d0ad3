"""What a profile says of a device, as the page shows it: where operators ran, and each power mode."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from . import charts as charts
from . import words as say


def device_view(value: Any) -> dict[str, Any] | None:
    """Return placement and power modes for the template; ``None`` where the report has neither."""
    profile = say.table(value)
    placement, modes = _placement(profile), _modes(profile)
    return {"placement": placement, "modes": modes} if placement or modes else None


def _placement(profile: Mapping[str, Any]) -> dict[str, Any] | None:
    placed = say.table(profile.get("placement"))
    absent = say.words(profile.get("placement_absent"))
    if not placed and not absent:
        return None
    return {
        "absent": absent,
        "source": say.words(placed.get("source")),
        "problems": [text for text in map(say.words, say.items(placed.get("problems"))) if text],
        "places": [
            {
                "name": say.words(place.get("name")),
                "operators": say.figure(place.get("operators"), "{:,.0f}"),
                "share": say.figure(place.get("share"), "{:.1%}"),
                "fallback": place.get("fallback") is True,
                "examples": ", ".join(filter(None, map(say.words, say.items(place.get("examples"))))),
            }
            for place in map(say.table, say.items(placed.get("places"))[: say.MOST_ROWS])
        ],
    }


def _modes(profile: Mapping[str, Any]) -> dict[str, Any] | None:
    entries = [say.table(entry) for entry in say.items(profile.get("power_modes"))[: say.MOST_ROWS]]
    if not entries:
        return None
    rows = [_mode(entry) for entry in entries]
    return {"rows": rows, "charts": [(key, _chart(rows, key)) for key in ("p50", "p99")]}


def _mode(entry: Mapping[str, Any]) -> dict[str, Any]:
    took = say.table(say.table(entry.get("clocks")).get("result"))
    total = say.table(say.table(entry.get("power")).get("total"))
    energy, drift = say.table(entry.get("energy_per_frame_mj")), say.table(entry.get("drift"))
    milliwatts = say.number(total.get("mean_mw"))
    throttle = say.table(entry.get("throttle")).get("flagged")
    problems = say.items(say.table(entry.get("protocol")).get("problems"))
    return {
        "name": say.words(entry.get("name")),
        "was_set": entry.get("was_set") is True,
        "problem": say.words(entry.get("problem")),
        "values": {key: say.number(took.get(key)) for key in ("p50", "p99")},
        "watts": None if milliwatts is None else milliwatts / 1000,
        "p50": say.figure(took.get("p50"), "{:.2f} ms"),
        "p99": say.figure(took.get("p99"), "{:.2f} ms"),
        "power": say.figure(None if milliwatts is None else milliwatts / 1000, "{:.2f} W"),
        "gross": say.figure(energy.get("gross"), "{:.1f} mJ"),
        "net": say.figure(energy.get("net"), "{:.1f} mJ"),
        "drift": say.figure(drift.get("ratio"), "{:.3f}"),
        "throttled": throttle if isinstance(throttle, bool) else None,
        "problems": [text for text in map(say.words, problems) if text],
    }


def _chart(rows: Sequence[Mapping[str, Any]], key: str) -> charts.Chart | None:
    """Lay out a latency over the power that it took; the mode that was set before is the large dot."""
    points = sorted(
        (row["watts"], row["values"][key], f"{row['name']}: {row[key]} at {row['power']}", row["was_set"])
        for row in rows
        if row["watts"] is not None and row["values"][key] is not None
        if math.isfinite(row["watts"]) and math.isfinite(row["values"][key])
    )
    chosen = next((index for index, point in enumerate(points) if point[3]), -1)
    return charts.curve([point[:3] for point in points], chosen)
