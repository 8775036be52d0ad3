"""A comparison of :mod:`.speed` as text: its table, the bound, where the time goes."""

from __future__ import annotations

from typing import Any

from .. import script

EAGER, NAIVE = "torch eager", "torch's exporter, ORT"
"""What this toolkit's artifacts are compared with."""


def show(result: dict[str, Any]) -> str:
    """Return a result of :func:`compare` as text."""
    columns = ("", "min ms", "p50 ms", "p90 ms", "n", "vs eager", "vs exporter", "vs bound", "max diff")
    rows = [
        (
            r["name"],
            *(f"{r[key]:.2f}" for key in ("min", "p50", "p90")),
            r["n"],
            *(_times(r, key) for key in ("times_eager", "times_naive", "times_limit")),
            f"{r['max_abs']:.1e}",
        )
        for r in result["rows"]
    ]
    rates = ", ".join(f"{name} {rate:.0f}" for name, rate in result["rates_gmac_s"].items())
    machine = result["machine"]
    lines = [
        f"{result['what']} on {machine['cpu']}, {result['threads']} threads, {result['clock']} clock, "
        f"load {machine['load']}",
        script.table(columns, rows),
        "vs eager, vs exporter: speed-up by medians (and by the fastest calls). vs bound: the fastest call's",
        "time divided by the lower bound.",
        f"{result['multiply_adds'] / 1e9:.3f} G multiply-adds; rate of a 1024x1024 product, in G per second: "
        f"{rates}; lower bound {result['limit_ms']:.2f} ms.",
        *_busy(machine, result["threads"]),
        *(f"{name}: not timed: {why}" for name, why in result["missing"].items()),
    ]
    for name, spent in result["profile"].items():
        total = sum(spent.values()) or 1.0
        top = [(op, f"{ms:.2f}", f"{100 * ms / total:.0f} %") for op, ms in list(spent.items())[:15]]
        lines += ["", script.table((f"{name}: time per operator", "ms", "share"), top)]
    lines += ["", _closing(result)]
    return "\n".join(lines)


def _closing(result: dict[str, Any]) -> str:
    """Return one line on the best of this toolkit's artifacts, by medians."""
    row = next((r for r in result["rows"] if r["name"] == result["best"]), None)
    if row is None:
        return "None of this toolkit's artifacts ran."
    naive = "" if row["times_naive"] is None else f", {row['times_naive']:.2f} times {NAIVE}"
    return f"Best: {row['name']}, {row['times_eager']:.2f} times as fast as {EAGER}{naive} (medians)."


def _times(row: dict[str, Any], key: str) -> str:
    if row[key] is None:
        return ""
    fastest = row.get(f"{key}_min")
    return f"{row[key]:.2f}" + ("" if fastest is None else f" ({fastest:.2f})")


def _busy(machine: dict[str, Any], threads: int) -> list[str]:
    load = machine["load"]
    if load is None or load < 0.25 * threads:
        return []
    return [
        f"The machine was busy with {load} processes before this run: the fastest calls are more reliable."
    ]
