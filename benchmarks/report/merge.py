"""Several reports, one from each device, as one comparison."""

from __future__ import annotations

import datetime
import importlib.metadata
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...runtime.errors import BadInputError, OutputError, ReportError
from ...runtime.files import check_place, output_error, replacing
from ...runtime.installed.bill import bill
from ...runtime.strict_json import printable
from .files import pictures_of
from .model import REPORT_HTML, REPORT_JSON
from .pictures import Pictures
from .read import MAX_ARTIFACTS, number, read_report, table

MAX_NAME = 120


@dataclass(frozen=True)
class Merged:
    """``report`` has the form of ``report.json``; ``pictures`` are those of each device, for its page.

    ``sources`` are the folders that it was made of.
    """

    report: dict[str, Any]
    pictures: list[Pictures]
    sources: list[Path]


def merge(paths: Sequence[Path], names: Sequence[str] = ()) -> Merged:
    """Merge several reports into one.

    Every artifact carries its ``device``; what can be compared stands next to each other. ``comparison``
    lists for every model, target, precision and size what each device found. Paths are those on the devices,
    and so become ``path_there``; pictures go into the page alone, and only those that are what the reports
    say they are (:mod:`.files`).

    Args:
        paths: reports, or folders with one.
        names: what to call the devices, one for each; by their processors when empty.

    Raises:
        ReportError: one cannot be read, or all of them together list more than 1000 artifacts.
        BadInputError: fewer than two reports, or another number of names.
    """
    if len(paths) < 2:
        raise BadInputError("give at least two reports to merge")
    if names and len(names) != len(paths):
        raise BadInputError(f"{len(paths)} reports and {len(names)} device names; give one name per report")
    reports = [read_report(path) for path in paths]
    devices = _devices(reports, paths, names)
    given = [
        (run, place, _row(entry, device, report))
        for run, (report, device) in enumerate(zip(reports, devices, strict=True))
        for place, entry in enumerate(report["artifacts"])
    ]
    if len(given) > MAX_ARTIFACTS:
        raise ReportError(f"{len(given)} artifacts in all, more than the {MAX_ARTIFACTS} allowed")
    order = {_key(row): place for place, (_, _, row) in reversed(list(enumerate(given)))}
    given.sort(key=lambda one: order[_key(one[2])])
    rows = [row for _, _, row in given]
    where = {(run, place): index for index, (run, place, _) in enumerate(given)}
    sources = [path if path.is_dir() else path.parent for path in paths]
    pictures = [
        pictures_of(report, folder, [where[run, place] for place in range(len(report["artifacts"]))], device)
        for run, (report, folder, device) in enumerate(zip(reports, sources, devices, strict=True))
    ]
    models = list(dict.fromkeys(str(report["model"]) for report in reports if report.get("model")))
    weights = {str(row["weights_sha256"]) for row in rows if row.get("weights_sha256")}
    noted = (f"{d}: {n}" for r, d in zip(reports, devices, strict=True) for n in _texts(r.get("notes")))
    notes = list(dict.fromkeys(noted))
    if len(weights) > 1:
        notes.insert(0, "the reports are of different weights, so their figures are not comparable")
    created = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    report = {
        "version": importlib.metadata.version("fdikp-edge"),
        "created": created,
        "model": ", ".join(models) or "unknown",
        "machine": {
            "device": "; ".join(dict.fromkeys(devices)),
            "devices": {d: r.get("machine") for d, r in zip(devices, reports, strict=True)},
        },
        "sbom": bill(created),  # of this merger; each device's stays in its own report
        "command": ["fdikp-edge", "report", "merge", *(path.name for path in paths), "--out", "DIR"],
        "notes": notes,
        "comparison": _comparison(rows),
        "artifacts": rows,
    }
    return Merged(report, pictures, sources)


def write_merged(merged: Merged, out: Path, *, overwrite: bool = False) -> list[str]:
    """Write ``report.json`` and ``report.html`` into a folder; return what could not be done.

    An earlier ``report.html`` does not stay beside a ``report.json`` that it does not belong to.

    Raises:
        OutputError: one is there already and may not be replaced, the folder cannot be written, or it is the
            folder of one of the reports.
    """
    from . import html

    if any(out.resolve() == folder.resolve() for folder in merged.sources):
        raise OutputError(f"{out}: contains one of the reports to merge; choose another folder")
    for name in (REPORT_JSON, REPORT_HTML):
        check_place(out / name, overwrite=overwrite)
    text = json.dumps(merged.report, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    page, notes = "", [sentence for one in merged.pictures for sentence in one.missing]
    try:
        page = html.render(merged.report, pictures=merged.pictures)
    except html.ReportUnavailableError as error:
        notes = [str(error)]
    with replacing(out / REPORT_JSON) as temporary:
        temporary.write_text(text, encoding="utf-8")
    if page:
        with replacing(out / REPORT_HTML) as temporary:
            temporary.write_text(page, encoding="utf-8")
    else:
        try:
            (out / REPORT_HTML).unlink(missing_ok=True)
        except OSError as error:
            raise output_error(out / REPORT_HTML, error) from error
    return notes


def _row(entry: Mapping[str, Any], device: str, report: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry as the merged report holds it; the names of files are left, since those stay behind."""
    row = {key: value for key, value in entry.items() if key not in ("path", "picture")}
    if isinstance(row.get("error_map"), Mapping):
        row["error_map"] = {k: v for k, v in row["error_map"].items() if k not in ("map", "reference")}
    return {
        **row,
        "path": None,
        "path_there": entry.get("path"),
        "picture": None,
        "device": device,
        "model": report.get("model"),
    }


def _devices(reports: Sequence[Mapping[str, Any]], paths: Sequence[Path], names: Sequence[str]) -> list[str]:
    """Return the name of each report's device.

    Reports from machines with the same facts share a name where they list no artifact in common; otherwise
    they are two runs, or two boards of one kind, whose figures stand next to each other.
    """
    devices: list[str] = []
    shared: dict[tuple[str, str], set[str]] = {}
    for place, report in enumerate(reports):
        facts = table(report.get("machine"))
        told = names[place] if names else facts.get("cpu")
        keys = {_key({**entry, "model": report.get("model")}) for entry in report["artifacts"]}
        same = json.dumps({k: v for k, v in facts.items() if k != "load"}, sort_keys=True, default=str)
        if told and not names:
            whose = next((d for (d, f), others in shared.items() if f == same and not keys & others), None)
            if whose is not None:
                devices.append(whose)
                shared[whose, same] |= keys
                continue
        name = " ".join(printable(str(told or paths[place].stem)).split())[:MAX_NAME] or "device"
        numbered = (f"{name} ({count})" for count in itertools.count(2))
        devices.append(next(one for one in itertools.chain([name], numbered) if one not in devices))
        shared[devices[-1], same] = keys
    return devices


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
