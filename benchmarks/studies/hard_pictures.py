"""How many hard pictures an artifact gets wrong: edges, gratings, flat fields and noise, against PyTorch.

    python -m fdikp_edge.benchmarks.studies.hard_pictures build/tiny-*-int8-256x256
    python -m fdikp_edge.benchmarks.studies.hard_pictures --exact-sums --json build/tiny-*-int8-256x256

The pictures are those that ``verify --worst-case`` starts with (:mod:`..accuracy.hard_cases`), at the size
that an artifact is built for. Nothing is searched for, so two artifacts are judged on the same pictures.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from ...runtime import program
from ...runtime.artifact import Artifact
from ...runtime.photo import Array, Photo
from ...runtime.pixels import crop, psnr_db
from ...runtime.sessions import open_session
from .. import script
from ..accuracy.budgets import budget_for
from ..accuracy.hard_cases import hard_cases
from ..accuracy.parity import ReferenceCall, as_picture
from ..timing.machine import machine_info

FAR_DB = 6.0
"""How far below its budget a picture counts as lost: twice the allowed error in the root mean square."""


def measure(
    artifacts: Sequence[Artifact],
    reference: Callable[[Artifact], ReferenceCall],
    *,
    threads: int | None = None,
    exact_sums: bool = False,
    note: Callable[[str], None] = script.note,
) -> dict[str, Any]:
    """Run artifacts and their networks in eager on every hard picture.

    Args:
        artifacts: opened artifacts of networks from one picture to one.
        reference: from an artifact to its network in eager; asked once for each set of weights, size and
            contract.
        threads: processor threads of each session.
        exact_sums: see :func:`.script.artifact_options`.
        note: told what is being done.

    Returns:
        ``{"machine", "exact_sums", "artifacts": [{"artifact", "target", "precision", "size", "budget_db",
        "pictures", "under_budget", "far_under", "worst": {"name", "parity_db"}, "all": {name: dB}}]}``.

    Raises:
        BadInputError: ``exact_sums`` for a target that has no such option.
        CheckFailedError: a result holds NaN or infinity; names the picture.
    """
    answers: dict[tuple[Any, ...], dict[str, Array]] = {}
    rows = []
    for artifact in artifacts:
        passport = artifact.passport
        note(f"{artifact.path.name}: hard pictures")
        key = (passport.weights_sha256, passport.input.shape, passport.input.dtype)
        with open_session(artifact, threads=threads, **script.session_options(exact_sums)) as session:
            cases = dict(hard_cases(session.input.size))
            if key not in answers:
                eager = reference(artifact)
                answers[key] = {
                    name: as_picture(eager(crop(Photo(pixels), session.input)), session.output, name)
                    for name, pixels in cases.items()
                }
            levels = {}
            for name, pixels in cases.items():
                result = session.run(crop(Photo(pixels), session.input))
                levels[name] = psnr_db(as_picture(result, session.output, name), answers[key][name])
            wanted = budget_for(passport.precision, session.output.dtype).min_psnr_db
        worst = min(levels, key=lambda name: levels[name])
        rows.append(
            {
                "artifact": artifact.path.name,
                "target": passport.target,
                "precision": passport.precision,
                "size": list(passport.input.size),
                "budget_db": wanted,
                "pictures": len(levels),
                "under_budget": sum(db < wanted for db in levels.values()),
                "far_under": sum(db < wanted - FAR_DB for db in levels.values()),
                "worst": {"name": worst, "parity_db": levels[worst]},
                "all": levels,
            }
        )
    return {"machine": machine_info(), "exact_sums": exact_sums, "artifacts": rows}


def show(result: dict[str, Any]) -> str:
    """Return a result of :func:`measure` as text."""
    columns = ("", "pictures", "under budget", f"by {FAR_DB:g} dB", "worst", "budget", "which")
    rows = [
        (
            row["artifact"],
            row["pictures"],
            row["under_budget"],
            row["far_under"],
            f"{row['worst']['parity_db']:.1f}",
            f"{row['budget_db']:.1f}",
            row["worst"]["name"],
        )
        for row in result["artifacts"]
    ]
    heading = f"Hard pictures, decibels from PyTorch, on {script.ran_on(result)}"
    return "\n".join([heading, script.table(columns, rows)])


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m fdikp_edge.benchmarks.studies.hard_pictures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    script.artifact_options(parser)
    program.run(lambda: _run(parser.parse_args()), extra="export")


def _run(given: argparse.Namespace) -> None:
    result = measure(
        [Artifact.open(path) for path in given.artifacts],
        script.references(given),
        threads=given.threads,
        exact_sums=given.exact_sums,
    )
    script.finish(result, given.json, show)


if __name__ == "__main__":
    main()
