"""How to train: what a run begins with and keeps."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, SequentialLR

from . import losses, optimisers
from .photos import SharpPhoto
from .samples import Recipe


@dataclass(frozen=True)
class Settings:
    """How to train. ``steps`` may change when a run goes on; everything else stays.

    Attributes:
        variant: "tiny", "small" or "base".
        steps: optimiser steps over the whole run; the learning rate falls to zero by then.
        batch: pairs a step.
        recipe: what the pairs are drawn from.
        learning_rate: the highest, reached after ``warmup`` steps.
        optimiser: "adamw" or "muon", see :mod:`.optimisers`.
        weight_decay: of the optimiser.
        clip: largest norm of the gradient.
        loss: see :mod:`.losses`.
        bfloat16: compute in it where that is safe, the transforms excepted; fast on CUDA and on processors
            that multiply it (x86 with ``avx512_bf16`` or ``amx_bf16``).
        average: decay of the running mean of the weights, which is what is kept.
        held_out: how many photos are for validation only.
        validation: number of synthetic pairs from them.
    """

    variant: str = "tiny"
    steps: int = 20_000
    batch: int = 4
    recipe: Recipe = field(default_factory=Recipe)
    learning_rate: float = 1e-3
    warmup: int = 200
    optimiser: optimisers.Kind = "adamw"
    weight_decay: float = 1e-4
    clip: float = 5.0
    loss: losses.Kind = "relative"
    bfloat16: bool = False
    average: float = 0.998
    held_out: int = 2
    validation: int = 16

    def fixed(self, photos: Sequence[SharpPhoto], objective: str = "") -> dict[str, Any]:
        """Return what a run that goes on must share with how it began; ``objective`` is its name."""
        together = hashlib.sha256(" ".join(sorted(photo.sha256 for photo in photos)).encode())
        values = {**asdict(self), "photos": together.hexdigest()}
        del values["steps"]
        if objective:
            values["objective"] = objective
        return values

    def schedule(self, optimiser: torch.optim.Optimizer, done: int = 0) -> LRScheduler:
        """Return the schedule of the learning rate after ``done`` steps: linear warm-up from
        ``learning_rate / warmup``, then half a cosine to zero."""
        cosine = CosineAnnealingLR(optimiser, max(1, self.steps - self.warmup))
        schedule: LRScheduler = cosine
        if self.warmup:
            rise = LinearLR(optimiser, 1 / self.warmup, total_iters=self.warmup - 1)
            schedule = SequentialLR(optimiser, [rise, cosine], milestones=[self.warmup])
        with warnings.catch_warnings():
            # The optimiser took these steps in an earlier run, which torch cannot know.
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step\\(\\)` before")
            for _ in range(done):
                schedule.step()
        return schedule


def chosen_before(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run began with, as :meth:`Settings.fixed` says it, with what its record does not name
    because there was no choice yet: AdamW, and no patterns."""
    values = {"optimiser": "adamw", **recorded}
    recipe = values.get("recipe")
    if isinstance(recipe, dict) and isinstance(recipe.get("mixture"), dict):
        values["recipe"] = {**recipe, "mixture": {"patterns": 0.0, **recipe["mixture"]}}
    return values
