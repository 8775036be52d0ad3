"""Writes a report into a folder: ``report.json``, and ``report.html`` where jinja2 is installed."""

from __future__ import annotations

from pathlib import Path

from . import html
from .model import REPORT_HTML, REPORT_JSON, Report


def write_report(report: Report, folder: Path) -> list[str]:
    """Write ``report.json`` and ``report.html`` into ``folder``, and return what could not be done.

    ``folder`` holds the pictures that the rows name. Without jinja2 there is no ``report.html``.
    """
    (folder / REPORT_JSON).write_text(report.to_json(), encoding="utf-8")
    after: dict[str | int | Path, Path] = {
        index: folder / row.picture for index, row in enumerate(report.rows) if row.picture is not None
    }
    errors: dict[str | int | Path, tuple[Path, Path]] = {
        index: (folder / row.error_map["map"], folder / row.error_map["reference"])
        for index, row in enumerate(report.rows)
        if row.error_map is not None
    }
    pictures = html.Pictures(report.photo, after, errors)
    try:
        page = html.render(report.to_dict(), pictures=pictures)
    except html.ReportUnavailableError as error:
        return [str(error)]
    (folder / REPORT_HTML).write_text(page, encoding="utf-8")
    return []
