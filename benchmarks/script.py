"""What the benchmark programs share: plain tables, sizes on the command line, errors as messages."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..runtime.artifact import Artifact
from ..runtime.program import put
from ..runtime.sessions import available_threads

if TYPE_CHECKING:
    from .accuracy.parity import ReferenceCall


def numbers(count: int) -> Callable[[str], tuple[int, ...]]:
    """Return a type for argparse: ``count`` whole numbers with an ``x`` between them."""

    def read(text: str) -> tuple[int, ...]:
        parts = text.lower().split("x")
        if len(parts) != count or not all(re.fullmatch("[0-9]{1,6}", part) and int(part) for part in parts):
            example = "x".join(["64", "128", "128"][-count:])
            raise argparse.ArgumentTypeError(f"{text!r} is not of the form {example}")
        return tuple(int(part) for part in parts)

    return read


def artifact_options(parser: argparse.ArgumentParser) -> None:
    """Add what a program takes that compares artifacts with their networks in eager."""
    parser.add_argument("artifacts", nargs="+", type=Path, metavar="ARTIFACT", help="artifact folders")
    parser.add_argument("--model", metavar="NAME", help="weights file, where the passport names no variant")
    parser.add_argument("--seed", type=int, help="seed of initial weights, as it was built with")
    parser.add_argument("--threads", type=int, default=available_threads(), help="for every session")
    parser.add_argument(
        "--exact-sums",
        action="store_true",
        help="compute 8-bit layers in floats on rounded operands: results as on a processor with 8-bit dot "
        "products (VNNI), on every processor",
    )
    parser.add_argument("--json", action="store_true", help="print JSON with every picture")


def references(given: argparse.Namespace) -> Callable[[Artifact], ReferenceCall]:
    """Return how to get from an artifact to its network in eager, by ``--model`` and ``--seed``."""
    from ..export.build import reference_for
    from ..models import zoo

    def reference(artifact: Artifact) -> ReferenceCall:
        name = given.model or artifact.passport.model
        return reference_for(artifact, zoo.load(name, seed=given.seed))

    return reference


def session_options(exact_sums: bool) -> dict[str, bool]:
    """Return what :func:`~fdikp_edge.runtime.sessions.open_session` takes besides: ``exact_sums`` where it is
    asked for, since only some targets know it."""
    return {"exact_sums": True} if exact_sums else {}


def ran_on(result: Mapping[str, Any]) -> str:
    """Name the processor that a result with ``machine`` and ``exact_sums`` comes from."""
    processor: str = result["machine"]["cpu"]
    return f"{processor}, exact sums" if result["exact_sums"] else processor


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table as text; the first column to the left, all others to the right."""
    cells = [[str(cell) for cell in row] for row in [columns, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    lines = []
    for row in cells:
        first, *others = (
            cell.rjust(w) if i else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join([first, *others]).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def tiny_artifact(folder: Path) -> Path:
    """Build the smallest variant for ONNX Runtime in ``folder``, and return the artifact's folder."""
    from ..export.build import export_artifact
    from ..models import zoo

    note("building tiny for ONNX Runtime at 256x256")
    return export_artifact(
        zoo.load("tiny"), "onnx", "fp32", (256, 256), folder / "tiny-onnx-fp32-256x256"
    ).path


def note(text: str) -> None:
    """Print a line of progress on stderr."""
    print(text, file=sys.stderr, flush=True)


def finish(result: dict[str, Any], as_json: bool, show: Callable[[dict[str, Any]], str]) -> None:
    """Print a result on stdout, as JSON or as ``show`` puts it."""
    put(json.dumps(result, indent=2, allow_nan=False) if as_json else show(result))
