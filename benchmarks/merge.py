"""Several reports, one from each device, as one comparison."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..runtime.errors import BadInputError, OutputError, ReportError
from ..runtime.files import replacing
from .checks import table
from .read_report import MAX_ARTIFACTS, number, read_report
from .report import REPORT_HTML, REPORT_JSON

MAX_NAME = 120


def merge(paths: Sequence[Path], names: Sequence[str] = ()) -> dict[str, Any]:
    """Return one report made of several, in the form of ``report.json``.

    Every artifact carries its ``device``; what can be compared stands next to each other. ``comparison``
    lists for every model, target, precision and size what each device found. Paths are those on the devices,
    and so become ``path_there``.

    Args:
        paths: reports, or folders with one.
        names: what to call the devices, one for each; by their processors when empty.

    Raises:
        ReportError: one cannot be read, or all of them together list more than 1000 artifacts.
        BadInputError: fewer than two reports, or another number of names.
    """
    if len(paths) < 2:
        raise BadInputError("give two reports or more to merge")
    if names and len(names) != len(paths):
        raise BadInputError(f"{len(paths)} reports and {len(names)} names of devices; give one for each")
    reports = [read_report(path) for path in paths]
    devices = _devices(reports, paths, names)
    rows = [
        {**{k: v for k, v in entry.items() if k != "path"}, "path": None, "path_there": entry.get("path")}
        | {"device": device, "model": report.get("model")}
        for report, device in zip(reports, devices, strict=True)
        for entry in report["artifacts"]
    ]
    if len(rows) > MAX_ARTIFACTS:
        raise ReportError(f"{len(rows)} artifacts in all, more than the {MAX_ARTIFACTS} allowed")
    order = {_key(row): place for place, row in reversed(list(enumerate(rows)))}
    rows.sort(key=lambda row: order[_key(row)])
    models = list(dict.fromkeys(str(report["model"]) for report in reports if report.get("model")))
    weights = {str(row["weights_sha256"]) for row in rows if row.get("weights_sha256")}
    notes = [f"{d}: {n}" for r, d in zip(reports, devices, strict=True) for n in _texts(r.get("notes"))]
    if len(weights) > 1:
        notes.insert(0, "the reports are of different weights: figures of one are not those of the other")
    return {
        "version": importlib.metadata.version("fdikp-edge"),
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "model": ", ".join(models) or "unknown",
        "machine": {
            "device": "; ".join(devices),
            "devices": {d: r.get("machine") for d, r in zip(devices, reports, strict=True)},
        },
        "command": ["fdikp-edge", "report", "merge", *(path.name for path in paths), "--out", "DIR"],
        "notes": notes,
        "comparison": _comparison(rows),
        "artifacts": rows,
    }


def write_merged(report: Mapping[str, Any], out: Path, *, overwrite: bool = False) -> list[str]:
    """Write ``report.json`` and ``report.html`` into a folder; return what could not be done.

    Raises:
        OutputError: one is there already and may not be replaced, or the folder cannot be written.
    """
    from . import report_html

    for name in (REPORT_JSON, REPORT_HTML):
        if (out / name).exists() and not overwrite:
            raise OutputError(f"{out / name}: exists already; ask to overwrite it, or choose another folder")
    text = json.dumps(report, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    with replacing(out / REPORT_JSON) as temporary:
        temporary.write_text(text, encoding="utf-8")
    try:
        page = report_html.render(report)
    except report_html.ReportUnavailableError as error:
        return [str(error)]
    with replacing(out / REPORT_HTML) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return []


def _devices(reports: Sequence[Mapping[str, Any]], paths: Sequence[Path], names: Sequence[str]) -> list[str]:
    """Return a name for each device, no two alike."""
    found: list[str] = []
    for place, report in enumerate(reports):
        told = names[place] if names else table(report.get("machine")).get("cpu")
        name = str(told or paths[place].stem)[:MAX_NAME]
        alike = sum(other == name or other.startswith(f"{name} (") for other in found)
        found.append(f"{name} ({alike + 1})" if alike else name)
    return found


def _key(row: Mapping[str, Any]) -> str:
    return json.dumps([row.get(key) for key in ("model", "target", "precision", "size")])


def _comparison(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what each device found, by model, target, precision and size."""
    groups: dict[str, dict[str, Any]] = {}
    for row in rows:
        same = {key: row.get(key) for key in ("model", "target", "precision", "size")}
        group = groups.setdefault(_key(row), {**same, "devices": {}})
        parity, latency = table(row.get("parity")), table(row.get("latency_ms"))
        group["devices"][str(row["device"])] = {
            "state": row["state"],
            "max_abs": number(parity.get("max_abs")),
            "psnr_db": number(parity.get("psnr_db")),
            "p50_ms": number(latency.get("p50")),
            "p99_ms": number(latency.get("p99")),
            "stable": latency.get("stable") if isinstance(latency.get("stable"), bool) else None,
        }
    return list(groups.values())


def _texts(value: Any) -> list[str]:
    return [entry for entry in value if isinstance(entry, str)] if isinstance(value, list) else []
