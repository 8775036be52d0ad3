"""``fdikp-edge lab run``: a bundle on many boards."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import show
from ..guard import complain
from ..options import JsonOption, OverwriteOption


def run(
    plan: Annotated[
        Path, typer.Argument(metavar="LAB", help="File with the bundle and the boards (lab.yaml).")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="PATH", help="Output folder.")] = Path("lab"),
    ssh_config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Configuration of SSH to use.", show_default="the user's own"),
    ] = None,
    overwrite: OverwriteOption = False,
    json: JsonOption = False,
) -> int:
    """Run a bundle on every board of a lab.

    Copies the bundle over SSH; builds, verifies and profiles it on all boards at once; merges the reports.
    A board that fails does not stop the others. Run again, it goes on with what is not done.
    """
    from ...benchmarks.lab.run import DONE, run_lab

    with show.working("reading the plan", slow=True) as step:
        summary = run_lab(plan, out, ssh_config=ssh_config, overwrite=overwrite, progress=step)
    for note in summary["notes"]:
        complain(note, kind="note")
    if json:
        show.as_json({**summary, "out": str(out)})
    else:
        _print(summary, out)
    return 0 if all(row["state"] == DONE for row in summary["boards"]) else 1


def _print(summary: Mapping[str, Any], out: Path) -> None:
    cells = []
    for row in summary["boards"]:
        notes = [step["note"] for step in row["steps"].values() if step.get("note")]
        seconds = sum(step["seconds"] for step in row["steps"].values())
        cells.append(
            (
                row["name"],
                row["state"],
                row["place"] or "",
                ", ".join(row["steps"]),
                f"{seconds:.0f}",
                row["reason"] or "; ".join(notes),
            )
        )
    show.table(
        f"{summary['bundle']} on {len(cells)} boards",
        ("board", "state", "place", "steps done", "seconds#", "reason or note"),
        cells,
    )
    if summary["merged"]:
        show.line(f"merged report: {summary['merged']}")
    show.line(f"results: {out}")
