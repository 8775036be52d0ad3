"""The report of a run as one HTML document that loads nothing from anywhere.

:func:`render` turns the dict of ``report.json`` into a page. ``report.html.j2`` beside this file is its
frame; ``parts/`` holds the style, the few lines of script and one template for each section. A new
section is one file there and one row of :data:`SECTIONS`. Everything the report says is escaped, and a figure
that it does not hold is written as "not measured". Needs jinja2 (``pip install "fdikp-edge[report]"``).
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...runtime.errors import BadInputError, TargetUnavailableError
from ..accuracy import error_map
from . import charts as charts
from . import lanes, scale
from . import machines as places
from . import words as say
from .pictures import Pictures, embed_errors, viewers
from .plans import plans
from .rows import TONES, artifact, command
from .verdict import verdict

__all__ = ["Pictures", "ReportUnavailableError", "render"]

SECTIONS = (
    ("pictures", "Before and after"),
    ("comparison", "Comparison of devices"),
    ("results", "Results"),
    ("errors", "Error maps"),
    ("bands", "Error by frequency"),
    ("latency", "Latency"),
    ("precision", "Precision"),
    ("mixture", "Mixed precision"),
    ("device", "On the device"),
    ("plan", "Transform plan"),
    ("environment", "Environment and hashes"),
    ("reproduce", "Reproduce"),
)
"""The sections in their order: the name of the template in ``parts/``, and the heading. Those of a
device comparison, of mixed precision and of a profile appear only if the report has them; those of pictures
not where all results are other tensors."""

_FOLDER = Path(__file__).parent
_MARKS = {"good": "✓", "bad": "✕", "unsure": "?", "off": "–"}
_SHOWN_TOP = (
    "version",
    "model",
    "machine",
    "artifacts",
    "created",
    "command",
    "notes",
    "photo",
    "comparison",
    "before",
    "pictures",
)
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


class ReportUnavailableError(TargetUnavailableError):
    """The HTML report cannot be written here; the message says what to install."""


def render(report: Mapping[str, Any], *, pictures: Pictures | Sequence[Pictures] | None = None) -> str:
    """Return the report as one self-contained HTML document.

    Args:
        report: what ``report.json`` holds. Keys that are missing are shown as not measured or not recorded.
            Artifacts of a merged report name their ``device``, whose facts are under ``devices`` of
            ``machine``.
        pictures: photos for the before/after slider and maps of the error; of several devices, one for each.
            One that cannot be read becomes a sentence in the page.

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
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    environment.filters["percent"] = say.percent
    environment.globals.update(
        charts=charts, lane_height=lanes.HEIGHT, scale_row=scale.ROW, inf=math.inf, marks=_MARKS
    )
    style, script = (
        (_FOLDER / "parts" / name).read_text(encoding="utf-8") for name in ("style.css", "script.js")
    )
    template = environment.get_template("report.html.j2")
    return template.render(
        style=style,
        script=script,
        style_hash=_csp_hash(style),
        script_hash=_csp_hash(script),
        **_view(report, [pictures] if isinstance(pictures, Pictures) else list(pictures or ())),
    )


def _csp_hash(text: str) -> str:
    """Name an inline style or script in a content security policy, so that no other one is allowed."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _printable(value: Any) -> Any:
    """Replace control characters, text direction marks and lone surrogates, which garble or mislead."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return _UNPRINTABLE.sub("\ufffd", value)
    return value


def _view(report: Mapping[str, Any], pictures: Sequence[Pictures]) -> dict[str, Any]:
    """Everything the template shows, formatted."""
    if not isinstance(report, Mapping) or not isinstance(report.get("artifacts"), list):
        raise BadInputError('not a report: expected the dict of a report.json, with a list under "artifacts"')
    if not all(isinstance(entry, Mapping) for entry in report["artifacts"]):
        raise BadInputError('not a report: every entry of "artifacts" must be a dict')
    entries = report["artifacts"]
    rows = [artifact(entry, index) for index, entry in enumerate(entries)]
    machines, whose = places.machines(report, entries)
    places.name_rows(rows, whose)
    axis = charts.decibel_axis([error for row in rows for _, _, error in row["bands"]])
    for row in rows:
        row["bands_chart"] = charts.bands(row["bands"], axis) if row["bands"] else None
        row["chart"] = _histogram(row)
    latencies = lanes.lanes([(row["samples"], _figures(row)) for row in rows])
    for row, lane in zip(rows, latencies.lanes if latencies else [None] * len(rows), strict=True):
        row["lane"] = lane
    _time_bars(rows)
    compared = places.comparison(rows)
    measured = [row for row in rows if row["parity"]]
    tensors = bool(measured) and all(row["is_tensor"] for row in measured)
    no_photos = tensors and not any(one.after or one.errors for one in pictures)
    absent = {
        *(["pictures", "errors", "bands"] if no_photos else []),
        *([] if compared else ["comparison"]),
        *([] if any(row["mixture"] for row in rows) else ["mixture"]),
        *([] if any(row["on_device"] for row in rows) else ["device"]),
    }
    states = [row["state"] for row in rows]
    labels = {str(row["index"]): row["name"] for row in rows}
    labels |= {row["path"]: row["name"] for row in rows if row["path"]}
    return {
        "sections": [(key, title) for key, title in SECTIONS if key not in absent],
        "model": say.words(report.get("model")),
        "version": say.words(report.get("version")),
        "created": say.moment(report.get("created")),
        "photo": say.words(report.get("photo")),
        "command": command(report.get("command")),
        "rows": rows,
        "tensors": tensors,
        "sample": "sample" if any(row["is_tensor"] for row in rows) else "photo",
        "sizes": list(dict.fromkeys(row["size"] for row in rows if row["size"])),
        "verdict": verdict(rows),
        "states": [(s, states.count(s), TONES.get(s, "unsure")) for s in dict.fromkeys(states)],
        "machines": machines,
        "comparison": compared,
        "notes": _notes(report, rows),
        "more": say.flat({k: v for k, v in report.items() if k not in _SHOWN_TOP}),
        "plans": plans(rows),
        "lanes": latencies,
        "pictures": _pictures(pictures, labels),
        "gains": [(row["name"], row["gain"]) for row in rows if row["gain"]],
        "errors": _errors(pictures, labels, rows),
        "scale": scale.scale(_budgets(entries)),
    }


def _figures(row: Mapping[str, Any]) -> dict[str, float]:
    return {key: value for key, value in row["times"].items() if key != "min" or not row["samples"]}


def _histogram(row: Mapping[str, Any]) -> charts.Chart | None:
    named = [(key, row["times"][key]) for key in ("p50", "p90", "p99") if key in row["times"]]
    bare = [("min", row["times"]["min"])] if not row["samples"] and "min" in row["times"] else []
    return charts.latency(row["samples"], [*bare, *named])


def _time_bars(rows: Iterable[dict[str, Any]]) -> None:
    """Give each row the ends of its bars in the summary, in percent: median, 99th percentile, eager."""
    rows = list(rows)
    tops = [row["times"][key] for row in rows for key in ("p50", "eager_p50") if row["times"].get(key, 0) > 0]
    end = 1.06 * max(tops, default=1.0)
    for row in rows:
        ends = {k: min(100.0, 100 * v / end) for k, v in row["times"].items() if v >= 0}
        row["bar"] = {key: ends.get(key) for key in ("p50", "p99", "eager_p50")} if "p50" in ends else None


def _budgets(entries: Iterable[Mapping[str, Any]]) -> list[tuple[str, float]]:
    """The largest difference that each precision of the report may show, with its name, smallest first."""
    limits: dict[float, list[str]] = {}
    for entry in entries:
        most = say.number(say.table(say.table(entry.get("parity")).get("budget")).get("max_abs"))
        name = say.words(entry.get("precision"))
        if most is not None and 0 < most < math.inf and name and name not in limits.get(most, []):
            limits.setdefault(most, []).append(name)
    return [(f"budget of {', '.join(names)}", most) for most, names in sorted(limits.items())]


def _pictures(pictures: Sequence[Pictures], labels: Mapping[str, str]) -> dict[str, Any] | None:
    shown, trouble = viewers(pictures, labels)
    trouble += [sentence for one in pictures for sentence in one.missing]
    return {"viewers": shown, "trouble": trouble} if shown or trouble else None


def _errors(
    pictures: Sequence[Pictures], labels: Mapping[str, str], rows: Sequence[dict[str, Any]]
) -> dict[str, Any] | None:
    drawn = {key: files for one in pictures for key, files in one.errors.items()}
    if not drawn:
        return None
    drawn_by_photo, trouble = embed_errors(drawn, labels)
    recorded = {str(row["index"]): row["error_map"] for row in rows}
    recorded |= {row["path"]: row["error_map"] for row in rows if row["path"]}
    groups = [
        {
            "reference": group.reference,
            "photo": next((s["photo"] for key, _, _ in group.maps if (s := recorded.get(key))), None),
            "maps": [(label, drawn, recorded.get(key)) for key, label, drawn in group.maps],
        }
        for group in drawn_by_photo
    ]
    return {"groups": groups, "trouble": trouble, "side": error_map.MAX_SIDE}


def _notes(report: Mapping[str, Any], rows: Sequence[dict[str, Any]]) -> list[str]:
    """The notes of the run, and those of all artifacts that have notes, which their rows then leave out."""
    noted = [row["notes"] for row in rows if row["notes"]]
    shared = [note for note in (noted[0] if noted else []) if all(note in notes for notes in noted)]
    if len(noted) == 1 < len(rows):
        shared = []  # one artifact's own
    for row in rows:
        rest = [note for note in row["notes"] if note not in shared]
        # What a precision as a whole came to is the one note that everybody should read.
        row["leading"] = [note for note in rest if note.startswith(f"{row['precision']}: ")]
        row["notes"] = [note for note in rest if note not in row["leading"]]
    own = [text for note in say.items(report.get("notes")) if (text := say.words(note))]
    return list(dict.fromkeys([*own, *shared]))
