"""Train a network of ours on, so that its int8 artifacts give what its floats give.

    fdikp-edge calibrate --model tiny --size 256x256 --target onnx --out table.json
    python -m fdikp_edge.calibration.training --model tiny --table table.json --photos my-photos --out run

Each step goes through the rounding that the table describes. Kill and resume it as models.training. Calibrate
again with the new weights, since ranges belong to weights. README.md of models/training says what the photos
should be.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ...runtime import program
from ...runtime.errors import BadInputError

if TYPE_CHECKING:
    from torch import nn

Network = TypeVar("Network", bound="nn.Module")
PICTURES = 4
"""Defocused pictures that ranges are followed with."""


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(
        prog="python -m fdikp_edge.calibration.training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", default="tiny", help="trained variant or weights file (default: tiny)")
    parser.add_argument(
        "--table", type=Path, required=True, metavar="FILE", help="calibration table of these weights"
    )
    parser.add_argument("--target", default="", help="whose layers of the table (default: its first)")
    parser.add_argument(
        "--photos", type=Path, required=True, metavar="DIR", help="folder of sharp photographs"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of the run, new or begun"
    )
    parser.add_argument("--steps", type=int, default=2500, help="steps of the whole run (default: 2500)")
    parser.add_argument("--stop-at", type=int, metavar="STEP", help="end there for now; run again to go on")
    parser.add_argument("--batch", type=int, default=1, help="pictures a step (default: 1)")
    parser.add_argument("--rate", type=float, default=4e-4, help="highest learning rate (default: 0.0004)")
    parser.add_argument(
        "--patterns", type=float, default=0.55, help="part of the steps with patterns (default: 0.55)"
    )
    parser.add_argument(
        "--identity",
        type=float,
        default=0.4,
        help="weight of patterns coming back as they are, beside their rounding (default: 0.4)",
    )
    parser.add_argument(
        "--blend",
        type=float,
        default=1.0,
        help="also write this part of the new weights mixed with the rest of the old ones (default: 1)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of pairs and patterns (default: 0)")
    parser.add_argument("--held-out", type=int, default=2, help="photos for validation only (default: 2)")
    parser.add_argument("--threads", type=int, help="default: all")
    parser.add_argument(
        "--save-every",
        type=int,
        default=100,
        help="steps that a kill can cost; ranges follow the weights as often (default: 100)",
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that make pairs (default: 1)")
    given = parser.parse_args()
    goes_on = "stopped; the same command goes on from the last saved step"
    program.run(lambda: _train(given), extra="train", interrupted=goes_on)


def _train(given: argparse.Namespace) -> None:
    import torch
    from rich.console import Console
    from rich.progress import track

    from ...models import zoo
    from ...models.training.apertures import Aperture
    from ...models.training.defocus import margin
    from ...models.training.photos import read_photos, split
    from ...models.training.run import Progress, train
    from ...models.training.samples import DefocusPairs, Recipe
    from ...models.training.settings import Settings
    from ..table import read_table
    from .layers import rounded_layers
    from .objective import ThroughRounding

    if not 0 < given.rate < 1 or given.workers < 0 or given.identity < 0:
        raise BadInputError("--rate must be between 0 and 1, --workers and --identity not negative")
    if not 0 <= given.patterns <= 1 or not 0 < given.blend <= 1:
        raise BadInputError("--patterns must be from 0 to 1, --blend above 0 and at most 1")
    if given.threads is not None:
        if given.threads < 1:
            raise BadInputError(f"--threads {given.threads}: expected at least 1")
        torch.set_num_threads(given.threads)
    former = zoo.load(given.model).eval()
    table = read_table(given.table)
    table.check(zoo.weights_sha256(former), table.size)
    layers = rounded_layers(former, table, given.target)
    side = table.size[0]
    recipe = replace(Recipe(), side=side, seed=given.seed)
    settings = Settings(
        variant=former.variant.name,
        steps=given.steps,
        batch=given.batch,
        learning_rate=given.rate,
        warmup=min(40, given.steps),
        clip=3.0,
        held_out=given.held_out,
        recipe=recipe,
    )
    border = margin(recipe.largest_radius, Aperture(blades=5, rim=0.2))
    photos, _ = split(read_photos(given.photos, smallest=side + 2 * border), given.held_out)
    pairs = DefocusPairs(photos, replace(recipe, seed=given.seed + 1), PICTURES)
    console = Console(stderr=True)
    chosen = track(range(PICTURES), "taking pictures for the ranges", console=console, transient=True)
    objective = ThroughRounding(
        layers,
        former,
        [pairs[index][0][None] for index in chosen],
        share=given.patterns,
        identity=given.identity,
    )

    def report(progress: Progress) -> None:
        if progress.step % 25 == 0:
            console.print(f"step {progress.step} of {settings.steps}: loss {progress.loss:.3f}")
        if progress.restored_db is not None and progress.blurred_db is not None:
            gain = progress.restored_db - progress.blurred_db
            console.print(f"held-out {progress.restored_db:.2f} dB, {gain:+.2f} over blurred")

    weights = train(
        settings,
        given.photos,
        given.out,
        initial=Path(given.model),
        objective=objective,
        workers=given.workers,
        save_every=given.save_every,
        stop_at=given.stop_at,
        report=report,
    )
    if given.blend < 1 and (given.stop_at is None or given.stop_at >= given.steps):
        mixed = blended(former, zoo.load(weights), given.blend)
        weights = given.out / "blended.safetensors"
        zoo.save(mixed, weights, overwrite=True)
    program.put(str(weights))


def blended(former: nn.Module, new: Network, part: float) -> Network:
    """Return ``new`` with weights that are ``part`` its own and the rest those of ``former``.

    Between a network and what it was trained on to, both kinds of error are often lower than at either end
    (Wortsman et al., arXiv 2109.01903).
    """
    old = former.state_dict()
    new.load_state_dict({name: old[name].lerp(value, part) for name, value in new.state_dict().items()})
    return new


if __name__ == "__main__":
    main()
