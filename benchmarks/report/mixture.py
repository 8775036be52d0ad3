"""The mixed-precision search as the report shows it."""

from __future__ import annotations

import math
from typing import Any

from . import charts as charts
from . import words as say


def mixture_view(value: Any) -> dict[str, Any] | None:
    """Return summary, chart and layers for the template; ``None`` where the report holds no search."""
    search = say.table(value)
    if not search:
        return None
    points = []
    for point in map(say.table, say.items(search.get("points"))):
        saved, lost = say.number(point.get("saved_ms")), say.number(point.get("drop_db"))
        if saved is None or lost is None or not (math.isfinite(saved) and math.isfinite(lost)):
            continue
        floats = say.figure(point.get("in_floats"), "{:.0f}")
        text = f"{floats} layers in float: {saved:.1f} ms saved, {lost:.3f} dB lost"
        points.append((saved, lost, text))
    chosen = search.get("chosen")
    return {
        "summary": say.words(search.get("summary")),
        "chart": charts.curve(points, chosen if type(chosen) is int else -1),
        "ranking": [
            {
                "module": say.words(layer.get("module")),
                "node": say.words(layer.get("node")),
                "psnr": say.figure(layer.get("psnr_db"), "{:.1f} dB"),
                **{k: say.figure(layer.get(k), "{:.2f} ms") for k in ("float_ms", "int8_ms", "saved_ms")},
            }
            for layer in map(say.table, say.items(search.get("ranking"))[: say.MOST_ROWS])
        ],
    }
