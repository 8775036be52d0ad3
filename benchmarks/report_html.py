"""The report of a run as one HTML document that loads nothing from anywhere.

:func:`render` turns the dict of ``report.json`` into a page; ``report.html.j2`` beside this file holds the markup,
the style and the few lines of script. Everything the report says is escaped, and a figure that it does not hold
is written as "not measured". Needs jinja2 (``pip install "fdikp-edge[report]"``).
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..runtime.errors import BadInputError, ImageError, TargetUnavailableError
from . import report_charts as charts
from .report_pictures import Pictures, embed, embed_after

__all__ = ["Pictures", "ReportUnavailableError", "render"]

_TEMPLATE = Path(__file__).with_name("report.html.j2")
_STATES = {"verified": "good", "unverified": "unsure", "failed": "bad", "unavailable": "off"}
_MARKS = {"good": "✓", "bad": "✕", "unsure": "?", "off": "–"}
_PARITY = ("max_abs", "mean_abs", "psnr_db", "ssim", "within_budget", "bands", "worst_photo")
_LATENCY = ("min", "p50", "p90", "p99", "n", "eager_p50", "samples")
_SHOWN = (
    *("target", "precision", "size", "path", "state", "reason", "parity", "latency_ms", "plan", "audit", "files"),
    *("toolchain", "precision_census", "notes", "reproduce", "golden"),
)
_SHOWN_TOP = ("version", "model", "machine", "artifacts", "created", "command", "notes")
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_MOST_ROWS = 400


class ReportUnavailableError(TargetUnavailableError):
    """The HTML report cannot be written here; the message says what to install."""


def render(report: Mapping[str, Any], *, pictures: Pictures | None = None) -> str:
    """Return the report as one self-contained HTML document.

    Args:
        report: what ``report.json`` holds. Keys that are missing are shown as not measured or not recorded.
        pictures: photos for the before/after slider. One that cannot be read becomes a sentence in the page.

    Raises:
        ReportUnavailableError: jinja2 is not installed.
        BadInputError: ``report`` is not the dict of a ``report.json``.
    """
    try:
        import jinja2
    except ImportError as error:
        raise ReportUnavailableError(
            'the HTML report needs jinja2, which is not installed: pip install "fdikp-edge[report]"'
        ) from error

    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    environment.filters["csp_hash"] = _csp_hash
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    return template.render(charts=charts, inf=math.inf, **_view(report, pictures))


def _csp_hash(text: str) -> str:
    """Name an inline style or script in a content security policy, so that no other one is allowed."""
    return "sha256-" + base64.b64encode(hashlib.sha256(str(text).encode()).digest()).decode()


def _printable(value: Any) -> Any:
    """Replace what would garble a page or fool its reader: control characters, text direction, lone surrogates."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return _UNPRINTABLE.sub("\ufffd", value)
    return value


def _view(report: Mapping[str, Any], pictures: Pictures | None) -> dict[str, Any]:
    """Everything the template shows, formatted."""
    if not isinstance(report, Mapping) or not isinstance(report.get("artifacts"), list):
        raise BadInputError('not a report: expected the dict of a report.json, with a list under "artifacts"')
    if not all(isinstance(entry, Mapping) for entry in report["artifacts"]):
        raise BadInputError('not a report: every entry of "artifacts" must be a dict')
    rows = [_artifact(entry, report, index) for index, entry in enumerate(report["artifacts"])]
    errors = [error for row in rows for _, _, error in row["bands"]]
    axis = charts.decibel_axis(errors)
    for row in rows:
        row["bands_chart"] = charts.bands(row["bands"], axis) if row["bands"] else None
    states = [row["state"] for row in rows]
    machine = _dict(report.get("machine"))
    return {
        "model": _words(report.get("model")),
        "version": _words(report.get("version")),
        "created": _words(report.get("created")),
        "command": _words(report.get("command")),
        "notes": _notes(report, rows),
        "rows": rows,
        "verdict": [(s, states.count(s), _STATES.get(s, "unsure")) for s in dict.fromkeys(states)],
        "machine_line": " · ".join(_headline(machine)),
        "machine": _flat(machine),
        "more": _flat({k: v for k, v in report.items() if k not in _SHOWN_TOP}),
        "plans": _plans(rows),
        "marks": _MARKS,
        "pictures": _pictures(pictures, rows),
    }


def _artifact(entry: Mapping[str, Any], report: Mapping[str, Any], index: int) -> dict[str, Any]:
    parity, latency = _dict(entry.get("parity")), _dict(entry.get("latency_ms"))
    files = {str(name): _dict(value) for name, value in _dict(entry.get("files")).items()}
    state, size = _words(entry.get("state")) or "unknown", _size(entry.get("size"))
    name = " ".join(filter(None, (_words(entry.get("target")), _words(entry.get("precision")), size)))
    within = parity.get("within_budget")
    p50, eager = _number(latency.get("p50")), _number(latency.get("eager_p50"))
    samples = [v for v in map(_number, _list(latency.get("samples"))) if v is not None and math.isfinite(v)]
    named = [(key, _number(latency.get(key))) for key in ("p50", "p90", "p99")]
    lowest = _number(latency.get("min"))
    finite = [(key, value) for key, value in named if value is not None and math.isfinite(value)]
    bare = [("min", lowest)] if not samples and lowest is not None and math.isfinite(lowest) else []
    return {
        "id": f"artifact-{index}",
        "index": index,
        "name": name or f"artifact {index}",
        "target": _words(entry.get("target")),
        "precision": _words(entry.get("precision")),
        "size": size,
        "path": _words(entry.get("path")),
        "state": state,
        "tone": _STATES.get(state, "unsure"),
        "reason": _words(entry.get("reason")),
        "parity": bool(parity),
        "max_abs": _figure(parity.get("max_abs"), "{:.2e}"),
        "mean_abs": _figure(parity.get("mean_abs"), "{:.2e}"),
        "psnr": _figure(parity.get("psnr_db"), "{:.1f} dB"),
        "ssim": _ssim(parity.get("ssim")),
        "budget": within if isinstance(within, bool) else None,
        "worst_photo": _words(parity.get("worst_photo")),
        "bands": _bands(parity.get("bands")),
        "latency": bool(latency),
        **{key: _figure(latency.get(key)) for key in ("min", "p50", "p90", "p99", "eager_p50")},
        "n": _figure(latency.get("n"), "{:.0f}"),
        "ratio": _ratio(p50, eager),
        "chart": charts.latency(samples, [*bare, *finite]),
        "bytes": _model_bytes(files, _dict(entry.get("golden"))),
        "files": [(f, _figure(v.get("bytes"), "{:,.0f}"), _words(v.get("sha256"))) for f, v in files.items()],
        "plan": [row for row in _list(entry.get("plan")) if isinstance(row, Mapping)],
        "audit": _dict(entry.get("audit")),
        "environment": _flat({key: entry[key] for key in ("toolchain", "precision_census") if key in entry}),
        "more": _flat(
            {key: value for key, value in entry.items() if key not in _SHOWN}
            | {f"parity.{key}": value for key, value in parity.items() if key not in _PARITY}
            | {f"latency_ms.{key}": value for key, value in latency.items() if key not in _LATENCY}
        ),
        "notes": [text for note in _list(entry.get("notes")) if (text := _words(note))],
        "reproduce": _command(entry.get("reproduce")),
        "equivalent": _equivalent(entry, report),
    }


def _plans(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Plans of the artifacts, equal ones once; inside, sites by module, equal sites of a module in one row."""
    plans: list[dict[str, Any]] = []
    for row in rows:
        if not row["plan"] and not row["audit"]:
            continue
        same = next((p for p in plans if p["plan"] == row["plan"] and p["audit"] == row["audit"]), None)
        if same:
            same["names"].append(row["name"])
            continue
        audited = {str(_dict(s).get("site")): _dict(s) for s in _list(row["audit"].get("sites"))}
        modules: dict[str, dict[tuple[Any, ...], list[str]]] = {}
        strategies: dict[str, int] = {}
        for entry in row["plan"]:
            name = _words(entry.get("site")) or "?"
            strategy = _words(entry.get("strategy")) or "not recorded"
            strategies[strategy] = strategies.get(strategy, 0) + 1
            found = audited.get(name, {})
            key = (
                (_words(entry.get("operator")) or "").removeprefix("aten.").removesuffix(".default"),
                "×".join(map(str, _list(entry.get("lengths")))),
                "×".join(map(str, _list(entry.get("input_shape")))),
                strategy,
                _predicted(entry.get("predicted_us"), strategy),
                _figure(found.get("multiply_adds"), "{:,.0f}"),
                _figure(found.get("error_bound"), "{:.1e}"),
                _figure(found.get("fp16_input_limit")),
                _words(entry.get("reason")) or "",
            )
            module = _words(entry.get("module")) or "(root module)"
            modules.setdefault(module, {}).setdefault(key, []).append(name)
        plans.append(
            {
                "plan": row["plan"],
                "audit": row["audit"],
                "names": [row["name"]],
                "count": len(row["plan"]),
                "strategies": strategies,
                "modules": [(module, list(groups.items())) for module, groups in modules.items()],
                "summary": _flat({key: value for key, value in row["audit"].items() if key != "sites"}),
            }
        )
    return plans


def _predicted(value: Any, strategy: str) -> tuple[str | None, str]:
    """What the cost model said for the chosen strategy, and for those not chosen."""
    if not isinstance(value, Mapping):
        return _figure(value), ""
    others = [f"{name} {text}" for name, v in value.items() if name != strategy and (text := _figure(v))]
    return _figure(value.get(strategy)), ", ".join(others)


def _pictures(pictures: Pictures | None, rows: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    if pictures is None:
        return None
    labels = {str(row["index"]): row["name"] for row in rows}
    labels |= {row["path"]: row["name"] for row in rows if row["path"]}
    after, trouble = embed_after(pictures.after, labels)
    try:
        before = embed(pictures.before)
    except ImageError as error:
        before, trouble = None, [f"No picture of the input: {error}", *trouble]
    aligned = before is not None and all((p.width, p.height) == (before.width, before.height) for p in after)
    return {"before": before, "after": after, "trouble": trouble, "slider": aligned and bool(after)}


def _notes(report: Mapping[str, Any], rows: Iterable[dict[str, Any]]) -> list[tuple[str, str]]:
    """Each note once, with the names of the artifacts that have it (none: the whole run)."""
    notes: dict[str, list[str]] = {}
    for note in _list(report.get("notes")):
        notes.setdefault(_words(note) or "", [])
    rows = list(rows)
    for row in rows:
        for note in row["notes"]:
            notes.setdefault(note, []).append(row["name"])
    return [(note, "" if len(names) == len(rows) else ", ".join(names)) for note, names in notes.items() if note]


def _bands(value: Any) -> list[tuple[float, float, float]]:
    """Low edge, high edge and decibels of each band; one without all three is left out."""
    found = []
    for band in map(_dict, _list(value)):
        names = [name for name in band if isinstance(name, str) and name.endswith("db")]
        low, high, error = (_number(band.get(k)) for k in ("low", "high", names[0] if names else ""))
        if low is not None and high is not None and error is not None and not math.isnan(error):
            found.append((low, high, error))
    return found


def _headline(machine: Mapping[str, Any]) -> list[str]:
    """The machine in a few words."""
    words = [text for key in ("cpu", "gpu", "device", "os") if (text := _words(machine.get(key)))]
    threads = _figure(machine.get("threads"), "{:.0f}")
    return [*words, *([f"{threads} threads"] if threads else [])]


def _equivalent(entry: Mapping[str, Any], report: Mapping[str, Any]) -> str | None:
    """A command that asks for the same row, made from what the report says."""
    size = _list(entry.get("size"))
    words = [_words(report.get("model")), _words(entry.get("target")), _words(entry.get("precision"))]
    if not all(words) or len(size) != 2 or not all(type(side) is int for side in size):
        return None
    model, target, precision = (shlex.quote(str(word)) for word in words)
    shape = f"{size[0]}x{size[1]}"
    return f"fdikp-edge deploy --model {model} --target {target} --precision {precision} --size {shape} --out out"


def _command(value: Any) -> str | None:
    words = [_words(part) or "" for part in value] if isinstance(value, list) else None
    return shlex.join(words) if words is not None else _words(value)


def _model_bytes(files: Mapping[str, Mapping[str, Any]], golden: Mapping[str, Any]) -> str | None:
    """Size of what a runtime loads: all files but the recorded input and output."""
    kept = [v for name, v in files.items() if name not in golden.values() and not name.startswith("golden")]
    sizes = [_number(value.get("bytes")) for value in kept]
    known = [size for size in sizes if size is not None]
    return f"{sum(known) / 1e6:,.2f} MB" if known and len(known) == len(sizes) else None


def _ratio(p50: float | None, eager: float | None) -> str | None:
    if not p50 or not eager or not 0 < p50 < math.inf or not 0 < eager < math.inf:
        return None
    return f"{eager / p50:.2f}× faster" if eager >= p50 else f"{p50 / eager:.2f}× slower"


def _ssim(value: Any) -> str | None:
    number = _number(value)
    # Rounding must not turn "almost the same" into "the same".
    return "> 0.999999" if number is not None and 0.9999995 <= number < 1 else _figure(value, "{:.6f}")


def _figure(value: Any, form: str | None = None) -> str | None:
    """A number as text, three significant digits unless ``form`` says otherwise; ``None`` for no number."""
    number = _number(value)
    if number is None:
        return None
    if not math.isfinite(number):
        return "NaN" if math.isnan(number) else "∞ (no difference)" if number > 0 else "−∞"
    return charts.short(number) if form is None else form.format(number)


def _number(value: Any) -> float | None:
    """A number of a report; strict JSON has no infinity, so its name counts too."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, str) and value.lower().lstrip("+-") not in ("inf", "infinity", "nan"):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _size(value: Any) -> str | None:
    return "×".join(map(str, value)) if isinstance(value, (list, tuple)) and value else _words(value)


def _words(value: Any) -> str | None:
    """A scalar as text; ``None`` for nothing, and for what is no scalar."""
    if value is None or value == "" or not isinstance(value, (str, int, float)):
        return None
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


def _flat(value: Any, name: str = "", depth: int = 0) -> list[tuple[str, str]]:
    """Nested values as rows of name and text, bounded so that no report makes a page without end."""
    if isinstance(value, Mapping) and depth < 6:
        prefix = f"{name}." if name else ""
        rows = [row for key, item in value.items() for row in _flat(item, f"{prefix}{key}", depth + 1)]
        return rows[:_MOST_ROWS]
    items = _list(value)
    if items and depth < 6 and any(isinstance(item, (Mapping, list)) for item in items):
        return [row for i, item in enumerate(items[:_MOST_ROWS]) for row in _flat(item, f"{name}[{i}]", depth + 1)][:_MOST_ROWS]
    if items:
        rest = f", … ({len(items)} values)" if len(items) > 16 else ""
        return [(name, ", ".join(str(_words(item)) for item in items[:16]) + rest)]
    text = _words(value)
    return [(name, text)] if name and text is not None else []
