"""``fdikp-edge bisect``: the first module where an artifact departs from the reference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import show
from ..eager import model_of
from ..guard import complain
from ..options import NONE, ArtifactArgument, JsonOption, SeedOption, ThreadsOption, WeightsOption
from ..parsing import check_photos, check_threads

if TYPE_CHECKING:
    from ...benchmarks.accuracy.first_departure import Bisection


def bisect(
    artifact: ArtifactArgument,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="ARTIFACT", help="An artifact to believe, such as last week's.", show_default="PyTorch"
        ),
    ] = None,
    photo: Annotated[
        list[Path],
        typer.Option(
            "--photo",
            metavar="PATH",
            help="Photograph to look for the error on; the worst counts. Repeatable.",
            show_default="the recorded one",
        ),
    ] = NONE,
    max_abs: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            min=0.0,
            max=1.0,
            help="Largest difference allowed, white at 1.",
            show_default="the budget of its precision",
        ),
    ] = None,
    weights: WeightsOption = None,
    seed: SeedOption = None,
    threads: ThreadsOption = None,
    json: JsonOption = False,
) -> int:
    """Find the module where an artifact goes wrong.

    Lets the artifact compute a part of the network and PyTorch the rest, and halves the way between until it
    is known which module takes the error over the budget, and which operator in it.
    """
    from ...runtime.artifact import Artifact

    check_threads(threads)
    opened = Artifact.open(artifact)
    believed = None if against is None else Artifact.open(against)
    check_photos(photo)
    with show.working("reading the network") as step:
        from ...benchmarks.accuracy.bisect import bisect as run
        from ...benchmarks.accuracy.budgets import Budget

        found = run(
            opened,
            model_of(opened, weights, seed, other=believed is not None),
            against=believed,
            photos=photo,
            budget=None if max_abs is None else Budget(max_abs, 0.0),
            threads=threads,
            progress=step,
        )
    for note in found.notes:
        complain(note, kind="note")
    if json:
        show.as_json(found.to_dict())
    else:
        _print(found)
    return 0 if found.departure is None else 1


def _print(found: Bisection) -> None:
    rows = [
        ("error", f"{found.whole} against {found.against} on {found.photo}"),
        ("budget", f"{found.budget.max_abs:.2e}, {found.budget.min_psnr_db:.0f} dB"),
    ]
    departure = found.departure
    if departure is None:
        rows.append(("departs", "nowhere: it keeps its budget"))
    else:
        rows += [
            ("module", departure.module or "the root module"),
            ("operator", f"{departure.operator} ({', '.join(departure.nodes)})"),
            ("precision", departure.precision),
            ("error before", str(departure.before)),
            ("error after", str(departure.after)),
            ("it alone", str(departure.alone)),
            ("all but it", str(departure.repaired)),
            ("suggestion", departure.suggestion),
        ]
        if len(departure.modules) > 1:
            rows.insert(3, ("one of", ", ".join(departure.modules)))
    rows.append(("search", f"{found.probes} probes over {found.modules} modules in {found.seconds:.0f} s"))
    show.facts(str(found.artifact), rows)
