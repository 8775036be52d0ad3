"""``fdikp-edge report merge``: the runs of several devices as one comparison."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import show
from ..guard import complain
from ..options import JsonOption, OverwriteOption

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_NAMES: list[str] = []


def merge(
    reports: Annotated[
        list[Path], typer.Argument(metavar="REPORT", help="report.json of each device, or its folder.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="PATH", help="Output folder.")] = Path("merged"),
    name: Annotated[
        list[str],
        typer.Option(
            "--name",
            metavar="TEXT",
            help="Device name, in the order of the reports. Repeatable.",
            show_default="its processor",
        ),
    ] = NO_NAMES,
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
) -> int:
    """Join the reports of several devices.

    Writes report.json and report.html with all artifacts, each labelled with its device.
    """
    from ...benchmarks.report.merge import merge as join
    from ...benchmarks.report.merge import write_merged

    merged = join(reports, name)
    for note in write_merged(merged, out, overwrite=overwrite):
        complain(note, kind="note")
    if json:
        show.as_json({"out": str(out), "comparison": merged.report["comparison"]})
    else:
        _print(merged.report, out)
    return 0


def _print(merged: Mapping[str, Any], out: Path) -> None:
    rows = []
    for group in merged["comparison"]:
        size = "x".join(map(str, group["size"])) if isinstance(group["size"], list) else ""
        for device, held in group["devices"].items():
            figures = [(held["max_abs"], ".2e"), (held["p50_ms"], ".1f")]
            shown = ["" if value is None else format(value, form) for value, form in figures]
            rows.append(
                (
                    str(group["target"]),
                    str(group["precision"]),
                    size,
                    device,
                    str(held["state"]),
                    *shown,
                )
            )
    columns = ("target", "precision", "size", "device", "state", "max abs#", "p50 ms#")
    show.table(f"{merged['model']} in {out}", columns, rows)
