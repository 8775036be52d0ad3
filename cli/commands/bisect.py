"""``fdikp-edge bisect``: the first module where an artifact departs from the reference."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import show
from ..eager import source_of_artifact
from ..groups import spread
from ..guard import complain
from ..options import NONE, ArtifactArgument, JsonOption, ReferenceOptions, ThreadsOption
from ..parsing import check_photos

if TYPE_CHECKING:
    from ...benchmarks.accuracy.first_departure import Bisection


@spread
def bisect(
    *,
    artifact: ArtifactArgument,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="ARTIFACT",
            help="Artifact to use as the reference, such as an earlier build.",
            show_default="PyTorch",
        ),
    ] = None,
    photo: Annotated[
        list[Path],
        typer.Option(
            "--photo",
            metavar="PATH",
            help="Photo to search the error on; the worst result counts. Repeatable.",
            show_default="the golden input",
        ),
    ] = NONE,
    max_abs: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            min=0.0,
            max=1.0,
            help="Largest difference allowed: on a 0 to 1 scale, or relative to the largest magnitude for "
            "results that are no images.",
            show_default="the budget of its precision",
        ),
    ] = None,
    network: ReferenceOptions,
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> int:
    """Find the module that causes an artifact's error.

    Runs one part of the network in the artifact and the rest in PyTorch, and searches by bisection for the
    first module, and the operator in it, whose error exceeds the budget.
    """
    from ...runtime.artifact import Artifact
    from ...runtime.errors import FdikpEdgeError
    from ...runtime.sessions import open_session

    opened = Artifact.open(artifact)
    believed = None if against is None else Artifact.open(against)
    check_photos(photo)
    with show.working("reading the network", slow=True) as step:
        from ...benchmarks.accuracy.bisect import bisect as run
        from ...benchmarks.accuracy.budgets import Budget

        bisection = run(
            opened,
            source_of_artifact(opened, network, other=believed is not None),
            against=believed,
            photos=photo,
            budget=None if max_abs is None else Budget(max_abs, 0.0),
            threads=threads,
            progress=step,
        )
    if bisection.departure is not None:
        with contextlib.suppress(FdikpEdgeError), open_session(opened, threads=threads) as session:
            if session.remark:
                complain(session.remark, kind="note")
    for note in bisection.notes:
        complain(note, kind="note")
    if json:
        show.as_json(bisection.to_dict())
    else:
        _print(bisection)
    return 0 if bisection.departure is None else 1


def _print(bisection: Bisection) -> None:
    rows = [
        ("error", f"{bisection.whole} against {bisection.against} on {bisection.photo}"),
        ("budget", f"{bisection.budget.max_abs:.2e}, {bisection.budget.min_psnr_db:.0f} dB"),
    ]
    if bisection.result:
        rows.insert(0, ("result", f"{bisection.result}, the one with the largest share of its budget"))
    departure = bisection.departure
    if departure is None:
        rows.append(("first departure", "none: the error is within the budget"))
    else:
        rows += [
            ("module", departure.module or "the root module"),
            ("operator", f"{departure.operator} ({', '.join(departure.nodes)})"),
            ("precision", departure.precision),
            ("error before", str(departure.before)),
            ("error after", str(departure.after)),
            ("error alone", str(departure.alone)),
            ("error without it", str(departure.repaired)),
            ("suggestion", departure.suggestion),
        ]
        if len(departure.modules) > 1:
            rows.insert(3, ("candidates", ", ".join(departure.modules)))
    from ...benchmarks.report.words import counted

    search = f"{counted(bisection.probes, 'probe')} over {counted(bisection.modules, 'module')}"
    search += f" in {bisection.seconds:.0f} s"
    rows.append(("search", search))
    show.facts(str(bisection.artifact), rows)
