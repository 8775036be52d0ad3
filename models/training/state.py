"""The state of a training run on disk: enough to go on after a kill at any moment as if nothing had happened.

One safetensors file, written beside and renamed, holds the weights, their running mean and the optimiser's
two moments. Which pairs come next follows from the step alone, so no state of random numbers is needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ...runtime.errors import CheckpointError
from ..checkpoint import read_checkpoint, write_checkpoint
from .settings import chosen_before

FORMAT = "1"
_PARTS = ("model", "average", "mean", "square")


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """Return the exponential moving average of a network's weights, steadier than those of any one step.

    It starts at the weights of ``model``; call ``update_parameters`` after each step. The decay is ``decay``,
    and less in the first steps, t / (t + 10) after step t, so that the start is forgotten quickly.
    """

    @torch.no_grad()
    def update(averages: Sequence[Tensor], values: Sequence[Tensor], step: Tensor | int) -> None:
        weight = 1 - min(decay, int(step) / (int(step) + 10))
        for average, value in zip(averages, values, strict=True):
            average.lerp_(value, weight)

    average = AveragedModel(model, multi_avg_fn=update)
    _count(average, 0)
    return average


def _count(average: AveragedModel, step: int) -> None:
    """Set how many steps an average holds; the weights that it started from count as one more."""
    average.n_averaged.fill_(step + 1)


@dataclass
class TrainingState:
    """What changes from step to step."""

    model: nn.Module
    optimiser: torch.optim.Optimizer
    average: AveragedModel
    step: int = 0
    seconds: float = 0.0
    """Time spent training so far, over all runs."""

    def save(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Write the state; ``settings`` are checked when it is read again."""
        tensors: dict[str, Tensor] = {}
        averages = dict(self.average.module.named_parameters())
        for name, value in self.model.named_parameters():
            moments = self.optimiser.state.get(value, {})
            zero = torch.zeros_like(value)
            tensors |= {
                f"model/{name}": value,
                f"average/{name}": averages[name],
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
        _count(self.average, self.step)
        averages = dict(self.average.module.named_parameters())
        for name, value in self.model.named_parameters():
            parts = []
            for part in _PARTS:
                stored = checkpoint.tensors.get(f"{part}/{name}")
                if stored is None or stored.shape != value.shape:
                    raise checkpoint.error(f"key '{part}/{name}' is missing or of another shape")
                parts.append(stored.to(value.device, torch.float32))
            value.copy_(parts[0])
            averages[name].copy_(parts[1])
            if self.step:
                self.optimiser.state[value] = {
                    "step": torch.tensor(float(self.step)),
                    "exp_avg": parts[2],
                    "exp_avg_sq": parts[3],
                }


def _check_settings(path: Path, before: object, now: Mapping[str, Any]) -> None:
    if not isinstance(before, dict):
        raise CheckpointError(f"{path}: its record of the run is damaged")
    before, now = chosen_before(before), chosen_before(now)
    for key in sorted({*before, *now}):
        if before.get(key) != now.get(key):
            raise CheckpointError(
                f"{path}: the run began with {key} {before.get(key)!r} and goes on with {now.get(key)!r}; "
                "use the same settings, or another output folder"
            )
