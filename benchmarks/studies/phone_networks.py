"""How many networks of a collection become artifacts of a target, and equal PyTorch there.

``python -m fdikp_edge.benchmarks.studies.phone_networks --target executorch
--networks tests/export/spectral/spectral_networks`` prints a table. Collections are those of :mod:`.peers`.

Each network goes through the toolkit as a user's does: lowered for the target, built as fp32, opened, run on
the collection's own inputs, and compared with PyTorch eager in float64. Each is taken in a worker process,
so that a converter or a runtime that ends the process costs one network.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...runtime.passport import OUTSIDE_DELEGATE
from ...runtime.program import put
from ..timing.machine import machine_info
from .peer_routes import TOLERANCE, largest_error, load_networks
from .peers import Worker, WorkerLostError, announced

STATES = {
    "equal": "built, and equal to PyTorch",
    "different": "built, but further from PyTorch than the tolerance",
    "not run": "built, but its runtime does not run it",
    "refused": "not built",
    "crashed": "ended the process",
    "hung": "not done in time",
}


@dataclass(frozen=True)
class Outcome:
    """What became of one network on one target.

    ``state`` is one of :data:`STATES`. ``error`` is the largest difference from PyTorch in float64, relative
    to the largest value; ``outside`` counts the operators outside the delegate, where the target has one.
    ``detail`` says why not, in a line.
    """

    network: str
    target: str
    state: str
    seconds: float
    error: float | None = None
    outside: int | None = None
    detail: str = ""


def take(path: Path, name: str, target: str) -> Outcome:
    """Take one network through one target, in this process."""
    from ...export.build import build_artifact
    from ...export.lowered import lower_model
    from ...export.targets import get_target
    from ...models.sources.base import NetworkSource, TensorSpec
    from ...runtime.sessions import open_session

    warnings.simplefilter("ignore")
    network = next(one for one in load_networks(path) if one.name == name)
    module, inputs = network.build(), network.inputs()
    arrays = {f"x{index}": value.numpy() for index, value in enumerate(inputs)}
    specs = tuple(
        TensorSpec(key, value.shape, str(value.dtype), (float(value.min()), float(value.max())))
        for key, value in arrays.items()
    )
    start = time.perf_counter()
    artifact, state = None, "refused"

    def outcome(state: str, error: float | None = None, detail: str = "") -> Outcome:
        outside = None if artifact is None else artifact.passport.precision_census.get(OUTSIDE_DELEGATE)
        return Outcome(name, target, state, time.perf_counter() - start, error, outside, detail)

    with tempfile.TemporaryDirectory() as folder:
        try:
            source = NetworkSource(name, name, lambda: module, specs)
            model = lower_model(source, profile=get_target(target).profile)
            artifact = build_artifact(model, target, "fp32", Path(folder) / "artifact")
            state = "not run"
            with open_session(artifact, threads=1) as session:
                results = session.run(arrays)
            expected = model.reference(arrays, "float64")
        except Exception as error:  # what a converter or a runtime raises is what is counted here
            lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["no message"]
            return outcome(state, detail=f"{type(error).__name__}: {lines[0]}"[:300])
    worst = largest_error(list(results.values()), list(expected.values()))
    return outcome("equal" if worst <= TOLERANCE else "different", worst)


def take_all(path: Path, names: Sequence[str], target: str, seconds: float) -> list[Outcome]:
    """Take networks through one target, each at most ``seconds``, in a process of their own."""
    worker, outcomes = Worker(seconds), list[Outcome]()
    try:
        for name in announced(names):
            try:
                outcomes.append(worker.call(take, path, name, target))
            except WorkerLostError as lost:
                outcomes.append(Outcome(name, target, lost.state, lost.seconds, detail=str(lost)))
    except BaseException:
        worker.kill()
        raise
    worker.close()
    return outcomes


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the outcomes as a Markdown table, and under it how many there are of each."""
    has_delegate = any(one.outside is not None for one in outcomes)
    head = ["network", "state", "largest difference", *(["outside the delegate"] if has_delegate else [])]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for one in outcomes:
        cells = [
            one.network,
            one.state,
            one.detail.replace("|", "/") if one.error is None else f"{one.error:.1e}",
        ]
        if has_delegate:
            cells.append("" if one.outside is None else str(one.outside))
        lines.append(f"| {' | '.join(cells)} |")
    counts = Counter(one.state for one in outcomes)
    lines += ["", *(f"{counts[state]} of {len(outcomes)} {words}" for state, words in STATES.items())]
    if has_delegate:
        whole = sum(one.outside == 0 for one in outcomes)
        lines.append(f"{whole} of {len(outcomes)} have no operator outside the delegate")
    return "\n".join(lines)


def report(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return a run as plain JSON values."""
    return {
        "version": 1,
        "tolerance": TOLERANCE,
        "machine": machine_info(),
        "totals": Counter(one.state for one in outcomes),
        "outcomes": [{**asdict(one), "seconds": round(one.seconds, 2)} for one in outcomes],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study; return 0 if every network equals PyTorch, else 1."""
    parser = argparse.ArgumentParser(
        prog="python -m fdikp_edge.benchmarks.studies.phone_networks",
        description="How many networks of a collection become artifacts of a target, and equal PyTorch.",
    )
    parser.add_argument("--target", required=True, help="a target, such as executorch or litert")
    parser.add_argument("--networks", type=Path, required=True, help="package or module with NETWORKS")
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="these networks only")
    parser.add_argument("--seconds", type=float, default=300.0, help="most that one network may take")
    parser.add_argument("--json", type=Path, help="write every outcome to this file")
    options = parser.parse_args(arguments)
    names = [network.name for network in load_networks(options.networks)]
    if unknown := sorted(set(options.only) - set(names)):
        parser.error(f"no such network: {', '.join(unknown)}; there are: {', '.join(names)}")
    chosen = [name for name in names if not options.only or name in options.only]
    outcomes = take_all(options.networks, chosen, options.target, options.seconds)
    put(table(outcomes))
    if options.json:
        options.json.write_text(json.dumps(report(outcomes), indent=1), encoding="utf-8")
    return int(any(one.state != "equal" for one in outcomes))


if __name__ == "__main__":
    raise SystemExit(main())
