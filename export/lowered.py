"""A network lowered once, at one size, ready to be built for any target."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..models import zoo
from ..runtime.images import read_photo
from ..runtime.passport import TensorContract
from ..runtime.photo import Array
from ..runtime.pixels import crop
from ..runtime.samples import sample_photos
from .contracts import Deployable, image_contract, tensor_contracts
from .reference import Reference
from .spectral import LoweredProgram, Plan, lower
from .spectral.planner import make_plan
from .spectral.strategies import STRATEGIES
from .trial_sizes import sizes_in_errors
from .widening import widening_notes


@dataclass(frozen=True)
class LoweredModel:
    """A network with a size and an image contract, lowered and ready to be built for targets.

    ``plan`` is the user's override of the planner (patterns of sites to strategies), kept for other targets.
    """

    name: str
    deployable: Deployable
    lowered: LoweredProgram
    size: tuple[int, int]
    weights_sha256: str
    notes: tuple[str, ...] = ()
    plan: Plan | dict[str, str] | None = None

    @property
    def contracts(self) -> tuple[TensorContract, TensorContract]:
        """What goes in and what comes out."""
        return tensor_contracts(self.deployable.contract, *self.size)

    @cached_property
    def reference(self) -> Reference:
        """The network in PyTorch eager, with its native FFT."""
        return Reference(self.deployable)

    def for_profile(self, profile: str) -> LoweredModel:
        """Return the model lowered for another profile; where the planner would choose the same, this program
        with that profile's plan."""
        chosen = self.lowered.plan
        wanted = make_plan([choice.site for choice in chosen.choices], profile, self.plan)
        if profile == chosen.target:
            return self
        if wanted.key == chosen.key:
            return dataclasses.replace(self, lowered=dataclasses.replace(self.lowered, plan=wanted))
        height, width = self.size
        lowered = lower(
            self.deployable, (self.deployable.example(height, width),), target=profile, plan=self.plan
        )
        lowered = dataclasses.replace(lowered, samples=self.lowered.samples)
        return dataclasses.replace(self, lowered=lowered)


def load_model(variant_or_checkpoint: str | Path, *, seed: int | None = None) -> nn.Module:
    """Return an FDIKP by name or from a weights file; see :func:`fdikp_edge.models.zoo.load`."""
    return zoo.load(variant_or_checkpoint, seed=seed)


def lower_model(
    model: nn.Module,
    size: tuple[int, int],
    *,
    name: str | None = None,
    contract: str = "float_nchw",
    profile: str | None = None,
    plan: Plan | dict[str, str] | None = None,
    samples: Sequence[Array] | None = None,
) -> LoweredModel:
    """Put a network behind an image contract and lower it for images of one size.

    Args:
        model: takes float32 [1, 3, H, W] in [0, 1] and returns such an image, or a list of images with the
            finest last. Set to eval mode.
        size: height and width in pixels.
        name: what artifacts call it; the variant's name, or else the class's, when ``None``.
        contract: ``float_nchw`` or ``uint8_nhwc``; see
            :func:`~fdikp_edge.export.contracts.tensor_contracts`.
        profile: whose costs the planner counts with (:attr:`Target.profile`).
        plan: overrides the planner; see :func:`~fdikp_edge.export.lower`.
        samples: inputs, as the contract describes them, that show what the network is used on: some targets
            decide by them what must stay in float32. The middles of the sample photos when ``None``.

    Raises:
        SizeError: the network does not take this size; lists the nearest that it does.
        UnknownNameError: no such contract.
        LoweringError: the network cannot be lowered; names the operator and its module.
    """
    height, width = size
    variant: Any = getattr(model, "variant", None)
    if variant is not None:
        variant.size.check(height, width)
    deployable = Deployable(model, image_contract(contract)).eval()
    with sizes_in_errors(deployable, lambda *other: (deployable.example(*other),), size):
        lowered = lower(deployable, (deployable.example(height, width),), target=profile, plan=plan)
    source, _ = tensor_contracts(deployable.contract, height, width)
    lowered = dataclasses.replace(lowered, samples=functools.partial(_samples, source, samples))
    note = getattr(model, "weights_note", None)
    return LoweredModel(
        name=name or getattr(variant, "name", None) or type(model).__name__,
        deployable=deployable,
        lowered=lowered,
        size=(height, width),
        weights_sha256=zoo.weights_sha256(model),
        notes=(*([f"weights: {note}"] if note else []), *widening_notes(model)),
        plan=plan,
    )


def _samples(source: TensorContract, given: Sequence[Array] | None) -> list[Tensor]:
    if given is None:
        given = [crop(read_photo(path), source) for path in sample_photos()]
    return [torch.from_numpy(np.ascontiguousarray(array)) for array in given]


def describe_model(model: LoweredModel) -> dict[str, Any]:
    """Return what a report says of a model: name, hashes, size, contract, and where its weights come from."""
    return {
        "name": model.name,
        "weights_sha256": model.weights_sha256,
        "program_sha256": model.lowered.sha256,
        "size": list(model.size),
        "image_contract": model.deployable.contract,
        "parameters": sum(p.numel() for p in model.deployable.parameters()),
        "notes": list(model.notes),
    }


def summarise(plan: Plan) -> str:
    """Return one line about a plan, as model files carry it: ``12 flat, 3 separable``.

    Transforms are counted by the products that compute them, whatever the layout: a window of a fused block
    is flat. The passport has the strategies.
    """
    counts: dict[str, int] = {}
    for choice in plan.choices:
        product = STRATEGIES[choice.strategy].product or choice.strategy
        counts[product] = counts.get(product, 0) + 1
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "no transforms"
