"""What a precision costs on real pairs: parity with PyTorch, and the picture lost against the sharp photo.

    python -m fdikp_edge.benchmarks.studies.precision_pairs --pairs DIR build/tiny-*-256x256
    python -m fdikp_edge.benchmarks.studies.precision_pairs --pairs DIR --limit 6 --json build/tiny-*-int8-*

DIR holds the folders ``blur`` and ``sharp`` with files of the same names, or several such folders. One tile
is taken of each photo, its middle, of the size that an artifact is built for; PyTorch eager in float32
restores it, and so does each artifact. Parity is the difference of the two. What is lost is eager's PSNR
against the sharp photo minus the artifact's (negative: the artifact is closer), and the same by radial
frequency band, from the energy of the error in it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from ...runtime import program
from ...runtime.artifact import Artifact
from ...runtime.errors import BadInputError
from ...runtime.images import read_photo
from ...runtime.photo import Array
from ...runtime.pixels import crop, psnr_db
from ...runtime.samples.pairs import Pair, find_pairs
from ...runtime.sessions import Session, open_session
from .. import script
from ..accuracy.budgets import budget_for
from ..accuracy.metrics import bands
from ..accuracy.parity import ReferenceCall, as_picture, compare
from ..timing.machine import machine_info

MAX_LOST_DB = 0.1
"""Most that int8 may lose against the sharp photo, as the mean over a folder."""


def measure(
    artifacts: Sequence[Artifact],
    pairs: Sequence[Pair],
    reference: Callable[[Artifact], ReferenceCall],
    *,
    threads: int | None = None,
    exact_sums: bool = False,
    note: Callable[[str], None] = script.note,
) -> dict[str, Any]:
    """Run artifacts on the middle of each pair.

    Args:
        artifacts: opened artifacts, of any networks and sizes.
        pairs: blurred and sharp photos.
        reference: from an artifact to its network in eager; asked once for each set of weights and contract.
        threads: processor threads of each session.
        exact_sums: see :func:`.script.artifact_options`.
        note: told what is being done.

    Returns:
        ``{"pairs", "machine", "exact_sums", "artifacts": [{"artifact", "target", "precision", "size",
        "arithmetic", "within_budget", "parity_db": {"worst", "mean"}, "max_abs",
        "lost_db": {"worst", "mean"}, "folders": {folder: {"n", "eager_psnr_db", "lost_db"}},
        "bands": [{"low", "high", "parity_db", "lost_db"}],
        "photos": […]}]}``; a band's ``parity_db`` is the error's energy over the picture's, the worst photo;
        its ``lost_db`` the mean over the photos.
    """
    answers: dict[tuple[Any, ...], list[Array]] = {}
    rows = []
    for artifact in artifacts:
        passport = artifact.passport
        note(f"{artifact.path.name}: {len(pairs)} pairs")
        key = (passport.weights_sha256, passport.input.shape, passport.input.dtype)
        with open_session(artifact, threads=threads, **script.session_options(exact_sums)) as session:
            if key not in answers:
                eager = reference(artifact)
                answers[key] = []
                for pair in pairs:
                    output = eager(crop(read_photo(pair.blurred), session.input))
                    answers[key].append(as_picture(output, session.output, pair.blurred.name))
            rows.append(_row(session, pairs, answers[key]))
    return {"pairs": len(pairs), "machine": machine_info(), "exact_sums": exact_sums, "artifacts": rows}


def _row(session: Session, pairs: Sequence[Pair], expected: Sequence[Array]) -> dict[str, Any]:
    passport = session.artifact.passport
    photos: list[dict[str, Any]] = []
    for pair, eager in zip(pairs, expected, strict=True):
        blurred, sharp = read_photo(pair.blurred), read_photo(pair.sharp)
        if (blurred.height, blurred.width) != (sharp.height, sharp.width):
            raise BadInputError(f"{pair.blurred}: is not of the size of its partner")
        output = as_picture(session.run(crop(blurred, session.input)), session.output, pair.blurred.name)
        wanted = as_picture(crop(sharp, session.input), session.output, pair.sharp.name)
        parity = compare(output, eager, pair.blurred.name)
        shown, plain = np.clip(output, 0, 1), np.clip(eager, 0, 1)
        mine, theirs = bands(shown, wanted), bands(plain, wanted)
        photos.append(
            {
                "folder": pair.folder,
                "name": pair.blurred.name,
                "parity_db": parity.psnr_db,
                "max_abs": parity.max_abs,
                "ssim": parity.ssim,
                "eager_psnr_db": psnr_db(plain, wanted),
                "lost_db": psnr_db(plain, wanted) - psnr_db(shown, wanted),
                "bands": [
                    {**asdict(band), "lost_db": m.rel_error_db - t.rel_error_db}
                    for band, m, t in zip(parity.bands, mine, theirs, strict=True)
                ],
            }
        )
    lost = [photo["lost_db"] for photo in photos]
    worst = min(photo["parity_db"] for photo in photos)
    max_abs = max(photo["max_abs"] for photo in photos)
    budget = budget_for(passport.precision, session.output.dtype)
    folders = {}
    for folder in dict.fromkeys(photo["folder"] for photo in photos):
        inside = [photo for photo in photos if photo["folder"] == folder]
        means = {key: fmean(photo[key] for photo in inside) for key in ("eager_psnr_db", "lost_db")}
        folders[folder] = {"n": len(inside), **means}
    return {
        "artifact": session.artifact.path.name,
        "target": passport.target,
        "precision": passport.precision,
        "size": list(session.input.size),
        "arithmetic": session.describe()["arithmetic"],
        "within_budget": not budget.problems(max_abs, worst)
        and all(entry["lost_db"] <= MAX_LOST_DB for entry in folders.values()),
        "parity_db": {"worst": worst, "mean": fmean(photo["parity_db"] for photo in photos)},
        "max_abs": max_abs,
        "lost_db": {"worst": max(lost), "mean": fmean(lost)},
        "folders": folders,
        "bands": [
            {
                "low": column[0]["low"],
                "high": column[0]["high"],
                "parity_db": max(band["rel_error_db"] for band in column),
                "lost_db": fmean(band["lost_db"] for band in column),
            }
            for column in zip(*(photo["bands"] for photo in photos), strict=True)
        ],
        "photos": photos,
    }


def show(result: dict[str, Any]) -> str:
    """Return a result of :func:`measure` as text."""
    folders = list(dict.fromkeys(name for row in result["artifacts"] for name in row["folders"]))
    columns = ("", "arithmetic", "parity worst", "mean", "max diff", "lost dB", "worst", *folders, "")
    rows = [
        (
            row["artifact"],
            row["arithmetic"],
            f"{row['parity_db']['worst']:.1f}",
            f"{row['parity_db']['mean']:.1f}",
            f"{row['max_abs']:.1e}",
            f"{row['lost_db']['mean']:+.4f}",
            f"{row['lost_db']['worst']:+.4f}",
            *(f"{row['folders'][name]['lost_db']:+.4f}" for name in folders),
            "within" if row["within_budget"] else "OVER BUDGET",
        )
        for row in result["artifacts"]
    ]
    lines = [
        f"{result['pairs']} pairs, one tile of each, on {script.ran_on(result)}; decibels",
        script.table(columns, rows),
        "lost dB: PSNR against the sharp photo, eager's minus the artifact's: mean, worst photo, folders.",
        "",
    ]
    edges = [(band["low"], band["high"]) for band in result["artifacts"][0]["bands"]]
    columns = ("by radial band, 1 is Nyquist", *(f"{low:.2g} to {high:.2g}" for low, high in edges))
    bands_of = [
        (f"{row['artifact']}: {name}", *(f"{band[key]:{form}}" for band in row["bands"]))
        for row in result["artifacts"]
        for name, key, form in (("error", "parity_db", ".1f"), ("lost", "lost_db", "+.4f"))
    ]
    return "\n".join([*lines, script.table(columns, bands_of)])


def main() -> None:
    """Read the command line and print the comparison."""
    parser = argparse.ArgumentParser(
        prog="python -m fdikp_edge.benchmarks.studies.precision_pairs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    script.artifact_options(parser)
    parser.add_argument("--pairs", type=Path, required=True, metavar="DIR", help="pairs, see above")
    parser.add_argument("--limit", type=int, metavar="N", help="take N pairs, evenly over all")
    program.run(lambda: _run(parser.parse_args()), extra="export")


def _run(given: argparse.Namespace) -> None:
    pairs = find_pairs(given.pairs)
    if given.limit is not None and not given.limit >= 1:
        raise BadInputError(f"--limit {given.limit}: give a number of pairs, at least 1")
    if given.limit is not None and given.limit < len(pairs):
        pairs = [pairs[int(place)] for place in np.linspace(0, len(pairs) - 1, given.limit).round()]
    result = measure(
        [Artifact.open(path) for path in given.artifacts],
        pairs,
        script.references(given),
        threads=given.threads,
        exact_sums=given.exact_sums,
    )
    script.finish(result, given.json, show)


if __name__ == "__main__":
    main()
