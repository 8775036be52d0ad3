"""The state of a training run on disk: enough to go on after a kill at any moment as if nothing had happened.

One safetensors file, written beside and renamed, holds the weights, their running mean and the optimiser's
two moments. Which pairs come next follows from the step alone, so no state of random numbers is needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...runtime.errors import CheckpointError
from ..checkpoint import read_checkpoint, write_checkpoint

FORMAT = "1"
_PARTS = ("model", "average", "mean", "square")


class RunningMean:
    """Exponential moving average of a network's weights: steadier than the weights of any one step."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Start at the weights of ``model``."""
        self.decay = decay
        self.values = {name: value.detach().clone() for name, value in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after ``step`` (from 1); early on the mean follows faster."""
        decay = min(self.decay, step / (step + 10))
        for name, value in model.named_parameters():
            self.values[name].lerp_(value, 1 - decay)


@dataclass
class TrainingState:
    """What changes from step to step."""

    model: nn.Module
    optimiser: torch.optim.AdamW
    average: RunningMean
    step: int = 0
    seconds: float = 0.0
    """Time spent training so far, over all runs."""

    def save(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Write the state; ``settings`` are checked when it is read again."""
        tensors: dict[str, Tensor] = {}
        for name, value in self.model.named_parameters():
            moments = self.optimiser.state.get(value, {})
            zero = torch.zeros_like(value)
            tensors |= {
                f"model/{name}": value,
                f"average/{name}": self.average.values[name],
                f"mean/{name}": moments.get("exp_avg", zero),
                f"square/{name}": moments.get("exp_avg_sq", zero),
            }
        metadata = {
            "format": "pt",
            "fdikp_training": FORMAT,
            "step": str(self.step),
            "seconds": f"{self.seconds:.3f}",
            "settings": json.dumps(settings, sort_keys=True),
        }
        write_checkpoint(path, tensors, metadata, overwrite=True)

    @torch.no_grad()
    def restore(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Read the state that :meth:`save` wrote.

        Raises:
            CheckpointError: the file is damaged, of another kind, or of a run with other settings.
        """
        checkpoint = read_checkpoint(path)
        metadata = checkpoint.metadata
        if metadata.get("fdikp_training") != FORMAT:
            raise checkpoint.error("not the state of a training run of this version")
        try:
            before = json.loads(metadata["settings"])
            self.step, self.seconds = int(metadata["step"]), float(metadata["seconds"])
        except (KeyError, ValueError) as error:
            raise checkpoint.error(f"its record of the run is damaged ({error})") from error
        _check_settings(path, before, settings)
        for name, value in self.model.named_parameters():
            parts = []
            for part in _PARTS:
                stored = checkpoint.tensors.get(f"{part}/{name}")
                if stored is None or stored.shape != value.shape:
                    raise checkpoint.error(f"key '{part}/{name}' is missing or of another shape")
                parts.append(stored.to(value.device, torch.float32))
            value.copy_(parts[0])
            self.average.values[name] = parts[1]
            if self.step:
                self.optimiser.state[value] = {
                    "step": torch.tensor(float(self.step)),
                    "exp_avg": parts[2],
                    "exp_avg_sq": parts[3],
                }


def _check_settings(path: Path, before: object, now: Mapping[str, Any]) -> None:
    if not isinstance(before, dict):
        raise CheckpointError(f"{path}: its record of the run is damaged")
    for key in sorted({*before, *now}):
        if before.get(key) != now.get(key):
            raise CheckpointError(
                f"{path}: the run began with {key} {before.get(key)!r} and goes on with {now.get(key)!r}; "
                "use the same settings, or another output folder"
            )
