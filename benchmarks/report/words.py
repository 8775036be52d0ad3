"""Values of a report as text; ``None`` if the report has no such value; the page then shows it as missing."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from typing import Any

from .charts import short

MOST_ROWS = 400


def ratio(p50: float | None, eager: float | None) -> str | None:
    """How much faster or slower a median is than that of eager; ``None`` where one of them is missing."""
    if not p50 or not eager or not 0 < p50 < math.inf or not 0 < eager < math.inf:
        return None
    return f"{eager / p50:.2f}× faster" if eager >= p50 else f"{p50 / eager:.2f}× slower"


def ssim(value: Any) -> str | None:
    """A structural similarity as text."""
    similarity = number(value)
    # Rounding must not turn "almost the same" into "the same".
    return "> 0.999999" if similarity is not None and 0.9999995 <= similarity < 1 else figure(value, "{:.6f}")


def figure(value: Any, form: str | None = None) -> str | None:
    """A number as text, three significant digits unless ``form`` says otherwise; ``None`` for no number."""
    converted = number(value)
    if converted is None:
        return None
    if not math.isfinite(converted):
        return "NaN" if math.isnan(converted) else "∞" if converted > 0 else "−∞"
    return short(converted) if form is None else form.format(converted)


def number(value: Any) -> float | None:
    """A number of a report; strict JSON has no infinity, so its name counts too."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, str) and value.lower().lstrip("+-") not in ("inf", "infinity", "nan"):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def size_words(value: Any) -> str | None:
    """Height and width as text."""
    return "×".join(map(str, value)) if isinstance(value, (list, tuple)) and value else words(value)


def words(value: Any) -> str | None:
    """A scalar as text; ``None`` for nothing, and for what is no scalar."""
    if value is None or value == "" or not isinstance(value, (str, int, float)):
        return None
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def table(value: Any) -> Mapping[str, Any]:
    """The value where it is a dict, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def items(value: Any) -> list[Any]:
    """The value where it is a list or tuple, else an empty list."""
    return list(value) if isinstance(value, (list, tuple)) else []


def flat(value: Any, name: str = "", depth: int = 0) -> list[tuple[str, str]]:
    """Nested values as rows of name and text, bounded so that no report makes a page without end."""
    if isinstance(value, Mapping) and depth < 6:
        prefix = f"{name}." if name else ""
        rows = [row for key, item in value.items() for row in flat(item, f"{prefix}{key}", depth + 1)]
        return rows[:MOST_ROWS]
    held = items(value)
    if held and depth < 6 and any(isinstance(item, (Mapping, list, tuple)) for item in held):
        nested = (flat(item, f"{name}[{i}]", depth + 1) for i, item in enumerate(held[:MOST_ROWS]))
        return [row for part in nested for row in part][:MOST_ROWS]
    if held:
        rest = f", … ({len(held)} values)" if len(held) > 16 else ""
        return [(name, ", ".join(str(words(item)) for item in held[:16]) + rest)]
    text = words(value)
    return [(name, text)] if name and text is not None else []


def percent(share: float) -> str:
    """A share as text, never rounded to nothing or to all while it is neither."""
    if share <= 0:
        return "0 %"
    if share < 0.001:
        return "under 0.1 %"
    if 0.995 <= share < 1:
        return f"{math.floor(share * 1000) / 10:.1f} %"
    return (
        f"{100 * share:.1f} %" if share < 0.0995 else f"{100 * share:.0f} %" if share < 100 else "over 9999 %"
    )


def counted(count: int, word: str) -> str:
    """``1 artifact``, ``2 artifacts``."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def machine_name(machine: Mapping[str, Any]) -> str:
    """A machine's name, in as few words as its facts allow."""
    keys = ("name", "device", "board", "gpu", "cpu", "os")
    return next((text for key in keys if (text := words(machine.get(key)))), "machine")


def machine_line(machine: Mapping[str, Any]) -> str:
    """A machine in one line: what decides how fast it is, and how busy it was."""
    named = [
        text for key in ("name", "device", "board", "gpu", "cpu", "os") if (text := words(machine.get(key)))
    ]
    threads, busy = number(machine.get("threads")), figure(machine.get("load"))
    used = [] if threads is None else [counted(int(threads), "thread")] if 0 < threads < 1e6 else []
    return " · ".join([*named, *used, *([f"load {busy} before the run"] if busy else [])])


def moment(value: Any) -> str | None:
    """A date and time in readable form; other text unchanged."""
    text = words(value)
    try:
        date = datetime.datetime.fromisoformat(text or "")
    except ValueError:
        return text
    zone = "" if date.tzinfo is None else f" {date.tzname()}"
    return f"{date:%Y-%m-%d %H:%M}{zone}"
