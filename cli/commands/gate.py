"""``fdikp-edge gate``: check a report against a baseline before a release."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...runtime.errors import BadInputError, FdikpEdgeError, UnknownNameError
from ...runtime.strict_json import printable
from .. import show
from ..guard import complain
from ..options import JsonOption, ThreadsOption
from ..signature import checks_signatures

if TYPE_CHECKING:
    from ...benchmarks.gate.gate import Verdict


@checks_signatures
def gate(
    report: Annotated[
        Path, typer.Argument(metavar="REPORT", help="report.json written by deploy, or its folder.")
    ],
    baseline: Annotated[
        Path, typer.Option("--baseline", "-b", metavar="FILE", help="Baseline file to compare with.")
    ],
    update: Annotated[
        bool, typer.Option("--update", help="Write the report as the new baseline instead of checking it.")
    ] = False,
    reason: Annotated[
        str,
        typer.Option(
            metavar="TEXT", help="Why the baseline changes; stored in the baseline. Required by --update."
        ),
    ] = "",
    allow_failed: Annotated[
        bool,
        typer.Option("--allow-failed", help="With --update, also accept a report with failed artifacts."),
    ] = False,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep/--no-keep",
            help="Also copy the artifacts next to the baseline, to compare latency and images with them.",
        ),
    ] = True,
    slowdown: Annotated[
        float,
        typer.Option(
            metavar="PERCENT",
            min=1.0,
            max=1000.0,
            help="Slowdown, in percent, that the latency check must detect.",
        ),
    ] = 5.0,
    seconds: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=1.0, max=86400.0, help="Time limit per artifact for the latency check."
        ),
    ] = 120.0,
    clock: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Latency clock: wall, or cpu (this process's processor time, for machines that others "
            "use too; best with --threads 1).",
        ),
    ] = "wall",
    latency: Annotated[
        bool,
        typer.Option(
            "--latency/--no-latency", help="Compare latency with the baseline artifact, in interleaved runs."
        ),
    ] = True,
    memory: Annotated[
        bool, typer.Option("--memory/--no-memory", help="Measure peak memory, in a separate process.")
    ] = True,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the checks as JUnit XML.", show_default="none")
    ] = None,
    github: Annotated[
        bool | None,
        typer.Option(
            "--github/--no-github", help="Print GitHub annotations.", show_default="in GitHub Actions"
        ),
    ] = None,
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> int:
    """Compare a report with a baseline.

    Accuracy is checked against fixed budgets; size, memory and precisions against the baseline. For latency,
    baseline and new artifact run interleaved until it is decided whether the new one is slower.
    """
    from ...benchmarks.gate.baseline import read_baseline
    from ...benchmarks.gate.baseline import update as write_baseline
    from ...benchmarks.gate.checks import CLOCKS
    from ...benchmarks.report.model import REPORT_JSON
    from ...benchmarks.report.read import read_report
    from ...runtime.files import check_place

    if bool(reason.strip()) != update:
        raise BadInputError(
            "--update needs --reason, which is stored in the baseline"
            if update
            else "--reason is only valid with --update"
        )
    if allow_failed and not update:
        raise BadInputError("--allow-failed is only valid with --update")
    if clock not in CLOCKS:
        raise UnknownNameError(f"unknown clock {clock!r}; expected one of: {', '.join(CLOCKS)}")
    if junit is not None:
        if junit.suffix.lower() != ".xml":  # it replaces what is there
            raise BadInputError(f"--junit {junit}: end the name in .xml")
        check_place(junit, overwrite=True)
        read = (report / REPORT_JSON if report.is_dir() else report, baseline)
        if junit.resolve() in {path.resolve() for path in read}:
            raise BadInputError(f"--junit {junit}: is one of the files the gate reads; choose another name")
    annotated = github or (github is None and os.environ.get("GITHUB_ACTIONS") == "true")
    try:
        content = read_report(report)
        folder = report if report.is_dir() else report.parent
        before = None if update else read_baseline(baseline)
        with show.working("opening") as step:
            from ...benchmarks.gate import gate as gates

            if before is None:
                if not allow_failed:
                    gates.refuse_failed(content)
                present = gates.built(content, folder)
                figures = gates.measure(present, memory)
                artifacts = {name: artifact for name, (artifact, _) in present.items()}
                changes = write_baseline(baseline, figures, artifacts, reason, keep=keep)
            else:
                verdict = gates.gate(
                    content,
                    folder,
                    before,
                    baseline,
                    slowdown=slowdown / 100,
                    max_seconds=seconds,
                    latency=latency,
                    memory=memory,
                    threads=threads,
                    timer=CLOCKS[clock],
                    progress=step,
                )
    except FdikpEdgeError as error:
        # A build server shows what it is handed, and a run without results is easily taken for a green one.
        _tell(error, junit, annotated=annotated, json=json)
        raise
    if before is None:
        if json:
            show.as_json({"baseline": str(baseline), "changes": changes})
        else:
            show.facts(str(baseline), [("changed", change) for change in changes] or [("changed", "nothing")])
        return 0
    if json:
        show.as_json(verdict.to_dict())
    else:
        _print(verdict)
    _tell(verdict, junit, annotated=annotated, json=json)
    for check in verdict.failed:
        complain(f"{check.artifact}: {check.name}: {check.message}", kind="failed")
    return 0 if verdict.ok else 1


def _tell(outcome: Verdict | FdikpEdgeError, junit: Path | None, *, annotated: bool, json: bool) -> None:
    """Hand a verdict, or what was in the way of one, to the build server."""
    from ...benchmarks.gate.formats import github_lines, write_junit

    for line in github_lines(outcome) if annotated else ():
        # GitHub reads both streams; with --json, stdout holds nothing else.
        if json:
            print(printable(line), file=sys.stderr, flush=True)
        else:
            show.line(line)
    if junit is not None:
        write_junit(outcome, junit)


def _print(verdict: Verdict) -> None:
    rows = [(check.artifact, check.name, check.outcome, check.message) for check in verdict.checks]
    show.table("Gate", ("artifact", "check", "outcome", "result"), rows)
    other = verdict.conditions.get("other_load")
    if other is not None:
        show.line(f"Other processes used {other:.1f} processors during the run.")
