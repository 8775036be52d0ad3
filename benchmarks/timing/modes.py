"""The power modes of a sweep in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def mode_lines(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line of text for each mode of a sweep."""
    lines = []
    for entry in entries:
        if "problem" in entry:
            lines.append(f"  {entry['name']}: not measured, {entry['problem']}")
            continue
        took, power, energy = entry["clocks"]["result"], entry["power"], entry["energy_per_frame_mj"]
        figures = [f"p50 {took['p50']} ms", f"p99 {took['p99']} ms"] if took else []
        figures.append(
            "power not available" if power is None else f"{power['total']['mean_mw'] / 1000:.2f} W"
        )
        if energy is not None:
            net = "" if energy["net"] is None else f" ({energy['net']} above idle)"
            figures.append(f"{energy['gross']} mJ per frame{net}")
        figures += ["throttled"] if entry["throttle"]["flagged"] else []
        if entry["drift"]["flagged"]:
            figures.append(f"latency grew by a factor of {entry['drift']['ratio']:.2f}")
        lines.append(f"  {entry['name']}: {', '.join(figures)}")
    return lines
