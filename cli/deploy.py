"""``fdikp-edge deploy``: the main job, from a network to verified artifacts, figures and a deblurred photo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from . import show
from .options import (
    ALL,
    FP32,
    ContractOption,
    JsonOption,
    ModelOption,
    OverwriteOption,
    PrecisionsOption,
    SeedOption,
    SizeOption,
    TargetsOption,
    ThreadsOption,
)


def deploy(
    model: ModelOption = "tiny",
    target: TargetsOption = ALL,
    precision: PrecisionsOption = FP32,
    size: SizeOption = "256x256",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for artifacts and report.")] = Path(
        "fdikp-edge-out"
    ),
    photo: Annotated[
        Path | None, typer.Option(help="Photograph to deblur for the report.", show_default="a sample")
    ] = None,
    contract: ContractOption = "float",
    overwrite: OverwriteOption = False,
    threads: ThreadsOption = None,
    seed: SeedOption = None,
    json: JsonOption = False,
) -> int:
    """Build a network for edge runtimes, verify and measure each artifact, and deblur a photo with it."""
    raise NotImplementedError
