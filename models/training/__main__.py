"""Train FDIKP on your own sharp photographs.

Each step, random crops of sharp photos are put out of focus by a model of a lens (see defocus.py), and the
network learns to undo it. Nothing else is needed: no pairs, no camera.

    python -m fdikp_edge.models.training --variant tiny --photos my-photos --out run
    python -m fdikp_edge.models.training --variant tiny --photos my-photos --out run    # goes on after a kill

The folder holds steps.csv, validation.csv and curve.png (look at it while it trains), state.safetensors to go
on from, and at the end weights.safetensors, which every command takes as --model, and run.json. Photos should
be large (they are reduced by 2 to 4 to be sharp), in focus everywhere, and varied; a dozen is a beginning.
README.md beside this module names freely licensed ones.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from ...runtime import program
from ...runtime.errors import BadInputError
from ..fdikp.variants import VARIANTS

MOST_PATTERNS = 0.45
"""Share that leaves pairs of every other kind."""


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(
        prog="python -m fdikp_edge.models.training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--variant", choices=sorted(VARIANTS), default="tiny", help="network (default: tiny)")
    parser.add_argument(
        "--photos", type=Path, required=True, metavar="DIR", help="folder of sharp photographs"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of the run, new or begun"
    )
    parser.add_argument("--steps", type=int, default=20_000, help="steps of the whole run (default: 20000)")
    parser.add_argument("--stop-at", type=int, metavar="STEP", help="end there for now; run again to go on")
    parser.add_argument("--batch", type=int, default=4, help="pairs a step (default: 4)")
    parser.add_argument("--size", type=int, default=256, help="side of a crop in pixels (default: 256)")
    parser.add_argument(
        "--radius", type=float, default=12.0, help="largest circle of confusion in pixels (default: 12)"
    )
    parser.add_argument("--rate", type=float, default=1e-3, help="highest learning rate (default: 0.001)")
    parser.add_argument(
        "--optimiser", choices=("adamw", "muon"), default="adamw", help="at the same rate (default: adamw)"
    )
    parser.add_argument("--clip", type=float, default=5.0, help="largest norm of the gradient (default: 5)")
    parser.add_argument(
        "--loss",
        choices=("relative", "plain"),
        default="relative",
        help="count each picture's error relative to itself, or as it is (default: relative)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the initial weights and the pairs (default: 0)"
    )
    parser.add_argument(
        "--patterns",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="share of pairs that are test patterns in focus, 0 to 0.45: less error in int8 (default: 0)",
    )
    parser.add_argument("--held-out", type=int, default=2, help="photos for validation only (default: 2)")
    parser.add_argument(
        "--from",
        dest="initial",
        type=Path,
        metavar="FILE",
        help="begin with these weights, or those of a smaller variant by file or name (tiny), widened",
    )
    parser.add_argument(
        "--bfloat16",
        action=argparse.BooleanOptionalAction,
        help="compute in it, the transforms excepted: faster where the processor has it (default: on CUDA)",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: auto")
    parser.add_argument("--threads", type=int, help="on the CPU (default: all)")
    parser.add_argument(
        "--save-every", type=int, default=100, help="steps that a kill can cost (default: 100)"
    )
    parser.add_argument(
        "--validate-every", type=int, default=500, help="steps between two validations (default: 500)"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that make pairs (default: 1)")
    given = parser.parse_args()
    goes_on = "stopped; the same command goes on from the last saved step"
    program.run(lambda: _train(given), extra="train", interrupted=goes_on)


def _train(given: argparse.Namespace) -> None:
    import torch
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    from .run import Progress, train
    from .samples import Recipe
    from .settings import Settings

    if given.threads is not None:
        if given.threads < 1:
            raise BadInputError(f"--threads {given.threads}: expected at least 1")
        torch.set_num_threads(given.threads)
    device = given.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    elif device == "cuda" and not torch.cuda.is_available():
        raise BadInputError("--device cuda: PyTorch finds no CUDA device here; use --device cpu")
    if not 0 < given.radius <= 64 or not 0 < given.rate < 1 or given.clip <= 0 or given.workers < 0:
        raise BadInputError(
            "--radius must be above 0 and at most 64, --rate between 0 and 1, --clip above 0, "
            "--workers not negative"
        )
    recipe = Recipe(side=given.size, largest_radius=given.radius, seed=given.seed)
    if not 0 <= given.patterns <= MOST_PATTERNS:
        raise BadInputError(f"--patterns {given.patterns}: expected 0 to {MOST_PATTERNS}")
    settings = Settings(
        variant=given.variant,
        steps=given.steps,
        batch=given.batch,
        learning_rate=given.rate,
        optimiser=given.optimiser,
        clip=given.clip,
        loss=given.loss,
        bfloat16=device == "cuda" if given.bfloat16 is None else given.bfloat16,
        held_out=given.held_out,
        recipe=replace(recipe, mixture=replace(recipe.mixture, patterns=given.patterns)),
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Bar(*columns, console=console) as bar:
        task = bar.add_task("training", total=settings.steps)

        def report(progress: Progress) -> None:
            bar.update(task, completed=progress.step, description=f"loss {progress.loss:.4f}")
            if progress.restored_db is not None and progress.blurred_db is not None:
                gain = progress.restored_db - progress.blurred_db
                console.print(
                    f"step {progress.step}: held-out {progress.restored_db:.2f} dB, {gain:+.2f} over blurred"
                )

        weights = train(
            settings,
            given.photos,
            given.out,
            initial=given.initial,
            device=device,
            workers=given.workers,
            save_every=given.save_every,
            validate_every=given.validate_every,
            stop_at=given.stop_at,
            report=report,
        )
    program.put(str(weights))


if __name__ == "__main__":
    main()
