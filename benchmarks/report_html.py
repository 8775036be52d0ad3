"""The report of a run as one HTML document that loads nothing from anywhere.

:func:`render` turns the dict of ``report.json`` into a page; ``report.html.j2`` beside this file holds the
markup, the style and the few lines of script. Everything the report says is escaped, and a figure that it
does not hold is written as "not measured". Needs jinja2 (``pip install "fdikp-edge[report]"``).
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
from . import report_words as say
from .report_pictures import Pictures, embed, embed_after

__all__ = ["Pictures", "ReportUnavailableError", "render"]

_TEMPLATE = Path(__file__).with_name("report.html.j2")
_STATES = {"verified": "good", "unverified": "unsure", "failed": "bad", "unavailable": "off"}
_MARKS = {"good": "✓", "bad": "✕", "unsure": "?", "off": "–"}
_PARITY = ("max_abs", "mean_abs", "psnr_db", "ssim", "within_budget", "bands", "worst_photo")
_LATENCY = ("min", "p50", "p90", "p99", "n", "eager_p50", "samples")
_SHOWN = (
    *("target", "precision", "size", "path", "state", "reason", "parity", "latency_ms", "plan", "audit"),
    *("files", "toolchain", "precision_census", "notes", "reproduce", "golden", "device"),
)
_SHOWN_TOP = ("version", "model", "machine", "artifacts", "created", "command", "notes")
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


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
    """Replace control characters, text direction marks and lone surrogates, which garble or mislead."""
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
    machine = say.table(report.get("machine"))
    return {
        "model": say.words(report.get("model")),
        "version": say.words(report.get("version")),
        "created": say.words(report.get("created")),
        "command": say.words(report.get("command")),
        "notes": _notes(report, rows),
        "rows": rows,
        "verdict": [(s, states.count(s), _STATES.get(s, "unsure")) for s in dict.fromkeys(states)],
        "machine_line": " · ".join(_headline(machine)),
        "machine": say.flat(machine),
        "more": say.flat({k: v for k, v in report.items() if k not in _SHOWN_TOP}),
        "plans": _plans(rows),
        "marks": _MARKS,
        "pictures": _pictures(pictures, rows),
    }


def _artifact(entry: Mapping[str, Any], report: Mapping[str, Any], index: int) -> dict[str, Any]:
    parity, latency = say.table(entry.get("parity")), say.table(entry.get("latency_ms"))
    files = {str(name): say.table(value) for name, value in say.table(entry.get("files")).items()}
    state, size = say.words(entry.get("state")) or "unknown", say.size_words(entry.get("size"))
    parts = (*(say.words(entry.get(key)) for key in ("target", "precision")), size)
    name = " ".join(filter(None, (*parts, say.words(entry.get("device")))))  # of a merged report
    within = parity.get("within_budget")
    p50, eager = say.number(latency.get("p50")), say.number(latency.get("eager_p50"))
    samples = [
        v for v in map(say.number, say.items(latency.get("samples"))) if v is not None and math.isfinite(v)
    ]
    named = [(key, say.number(latency.get(key))) for key in ("p50", "p90", "p99")]
    lowest = say.number(latency.get("min"))
    finite = [(key, value) for key, value in named if value is not None and math.isfinite(value)]
    bare = [("min", lowest)] if not samples and lowest is not None and math.isfinite(lowest) else []
    return {
        "id": f"artifact-{index}",
        "index": index,
        "name": name or f"artifact {index}",
        "target": say.words(entry.get("target")),
        "precision": say.words(entry.get("precision")),
        "size": size,
        "path": say.words(entry.get("path")),
        "state": state,
        "tone": _STATES.get(state, "unsure"),
        "reason": say.words(entry.get("reason")),
        "parity": bool(parity),
        "max_abs": say.figure(parity.get("max_abs"), "{:.2e}"),
        "mean_abs": say.figure(parity.get("mean_abs"), "{:.2e}"),
        "psnr": say.figure(parity.get("psnr_db"), "{:.1f} dB"),
        "ssim": say.ssim(parity.get("ssim")),
        "budget": within if isinstance(within, bool) else None,
        "worst_photo": say.words(parity.get("worst_photo")),
        "bands": _bands(parity.get("bands")),
        "latency": bool(latency),
        **{key: say.figure(latency.get(key)) for key in ("min", "p50", "p90", "p99", "eager_p50")},
        "n": say.figure(latency.get("n"), "{:.0f}"),
        "ratio": say.ratio(p50, eager),
        "chart": charts.latency(samples, [*bare, *finite]),
        "bytes": _model_bytes(files, say.table(entry.get("golden"))),
        "files": [
            (f, say.figure(v.get("bytes"), "{:,.0f}"), say.words(v.get("sha256"))) for f, v in files.items()
        ],
        "plan": [row for row in say.items(entry.get("plan")) if isinstance(row, Mapping)],
        "audit": say.table(entry.get("audit")),
        "environment": say.flat(
            {key: entry[key] for key in ("toolchain", "precision_census") if key in entry}
        ),
        "more": say.flat(
            {key: value for key, value in entry.items() if key not in _SHOWN}
            | {f"parity.{key}": value for key, value in parity.items() if key not in _PARITY}
            | {f"latency_ms.{key}": value for key, value in latency.items() if key not in _LATENCY}
        ),
        "notes": [text for note in say.items(entry.get("notes")) if (text := say.words(note))],
        "reproduce": _command(entry.get("reproduce")),
        "equivalent": _equivalent(entry, report),
    }


def _plans(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Plans of the artifacts, equal ones once; sites by module, equal sites of a module in one row."""
    plans: list[dict[str, Any]] = []
    for row in rows:
        if not row["plan"] and not row["audit"]:
            continue
        same = next((p for p in plans if p["plan"] == row["plan"] and p["audit"] == row["audit"]), None)
        if same:
            same["names"].append(row["name"])
            continue
        audited = {str(say.table(s).get("site")): say.table(s) for s in say.items(row["audit"].get("sites"))}
        modules: dict[str, dict[tuple[Any, ...], list[str]]] = {}
        strategies: dict[str, int] = {}
        for entry in row["plan"]:
            name = say.words(entry.get("site")) or "?"
            strategy = say.words(entry.get("strategy")) or "not recorded"
            strategies[strategy] = strategies.get(strategy, 0) + 1
            found = audited.get(name, {})
            key = (
                (say.words(entry.get("operator")) or "").removeprefix("aten.").removesuffix(".default"),
                "×".join(map(str, say.items(entry.get("lengths")))),
                "×".join(map(str, say.items(entry.get("input_shape")))),
                strategy,
                _predicted(entry.get("predicted_us"), strategy),
                say.figure(found.get("multiply_adds"), "{:,.0f}"),
                say.figure(found.get("error_bound"), "{:.1e}"),
                say.figure(found.get("fp16_input_limit")),
                say.words(entry.get("reason")) or "",
            )
            module = say.words(entry.get("module")) or "(root module)"
            modules.setdefault(module, {}).setdefault(key, []).append(name)
        plans.append(
            {
                "plan": row["plan"],
                "audit": row["audit"],
                "names": [row["name"]],
                "count": len(row["plan"]),
                "strategies": strategies,
                "audited": bool(audited),
                "modules": [(module, list(groups.items())) for module, groups in modules.items()],
                "summary": say.flat({key: value for key, value in row["audit"].items() if key != "sites"}),
            }
        )
    return plans


def _predicted(value: Any, strategy: str) -> tuple[str | None, str]:
    """What the cost model said for the chosen strategy, and for those not chosen."""
    if not isinstance(value, Mapping):
        return say.figure(value), ""
    others = [f"{name} {text}" for name, v in value.items() if name != strategy and (text := say.figure(v))]
    return say.figure(value.get(strategy)), ", ".join(others)


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
    for note in say.items(report.get("notes")):
        notes.setdefault(say.words(note) or "", [])
    rows = list(rows)
    for row in rows:
        for note in row["notes"]:
            notes.setdefault(note, []).append(row["name"])
    everyone = len(rows)
    return [(note, "" if len(who) == everyone else ", ".join(who)) for note, who in notes.items() if note]


def _bands(value: Any) -> list[tuple[float, float, float]]:
    """Low edge, high edge and decibels of each band; one without all three is left out."""
    found = []
    for band in map(say.table, say.items(value)):
        names = [name for name in band if isinstance(name, str) and name.endswith("db")]
        low, high, error = (say.number(band.get(k)) for k in ("low", "high", names[0] if names else ""))
        if low is not None and high is not None and error is not None and not math.isnan(error):
            found.append((low, high, error))
    return found


def _headline(machine: Mapping[str, Any]) -> list[str]:
    """The machine in a few words."""
    words = [text for key in ("cpu", "gpu", "device", "os") if (text := say.words(machine.get(key)))]
    threads = say.figure(machine.get("threads"), "{:.0f}")
    return [*words, *([f"{threads} threads"] if threads else [])]


def _equivalent(entry: Mapping[str, Any], report: Mapping[str, Any]) -> str | None:
    """A command that asks for the same row, made from what the report says."""
    size = say.items(entry.get("size"))
    words = [say.words(report.get("model")), *(say.words(entry.get(key)) for key in ("target", "precision"))]
    if not all(words) or len(size) != 2 or not all(type(side) is int for side in size):
        return None
    model, target, precision = (shlex.quote(str(word)) for word in words)
    shape = f"{size[0]}x{size[1]}"
    asked = f"--model {model} --target {target} --precision {precision} --size {shape}"
    return f"fdikp-edge deploy {asked} --out out"


def _command(value: Any) -> str | None:
    words = [say.words(part) or "" for part in value] if isinstance(value, list) else None
    return shlex.join(words) if words is not None else say.words(value)


def _model_bytes(files: Mapping[str, Mapping[str, Any]], golden: Mapping[str, Any]) -> str | None:
    """Size of what a runtime loads: all files but the recorded input and output."""
    kept = [v for name, v in files.items() if name not in golden.values() and not name.startswith("golden")]
    sizes = [say.number(value.get("bytes")) for value in kept]
    known = [size for size in sizes if size is not None]
    return f"{sum(known) / 1e6:,.2f} MB" if known and len(known) == len(sizes) else None
