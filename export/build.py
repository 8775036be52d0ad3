"""From a network to artifacts: lower it once, then build it for as many targets and precisions as wanted."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from ..models import zoo
from ..runtime.artifact import Artifact, ArtifactWriter
from ..runtime.errors import BadInputError
from ..runtime.images import read_photo
from ..runtime.passport import Passport, TensorContract
from ..runtime.photo import Photo
from ..runtime.samples import sample_photo
from .crops import crop
from .deployable import Deployable, image_contract, tensor_contracts
from .reference import Reference
from .spectral import LoweredProgram, Plan, lower
from .spectral.planner import make_plan
from .spectral.strategies import STRATEGIES
from .targets import Target, get_target

if TYPE_CHECKING:
    from ..calibration.table import CalibrationTable

GOLDEN_INPUT = "golden_input.npy"
GOLDEN_OUTPUT = "golden_output.npy"


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
) -> LoweredModel:
    """Put a network behind an image contract and lower it for images of one size.

    Args:
        model: takes float32 [1, 3, H, W] in [0, 1] and returns such an image, or a list of images with the
            finest last. Set to eval mode.
        size: height and width in pixels.
        name: what artifacts call it; the variant's name, or else the class's, when ``None``.
        contract: ``float_nchw`` or ``uint8_nhwc``; see
            :func:`~fdikp_edge.export.deployable.tensor_contracts`.
        profile: whose costs the planner counts with (:attr:`Target.profile`).
        plan: overrides the planner; see :func:`~fdikp_edge.export.lower`.

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
    lowered = lower(deployable, (deployable.example(height, width),), target=profile, plan=plan)
    note = getattr(model, "weights_note", None)
    return LoweredModel(
        name=name or getattr(variant, "name", None) or type(model).__name__,
        deployable=deployable,
        lowered=lowered,
        size=(height, width),
        weights_sha256=zoo.weights_sha256(model),
        notes=(f"weights: {note}",) if note else (),
        plan=plan,
    )


def build_artifact(
    model: LoweredModel,
    target: str | Target,
    precision: str,
    dest: str | Path,
    *,
    table: CalibrationTable | None = None,
    photo: Photo | None = None,
    overwrite: bool = False,
) -> Artifact:
    """Build a lowered model for one target and write the artifact, unverified as yet.

    Where the target's precision needs a calibration table (:attr:`Target.calibrated`), ``None`` makes one
    from the photos that are shipped; elsewhere ``table`` is left alone.

    Its golden input is the middle of ``photo`` (of a sample when ``None``), its golden output what PyTorch
    eager makes of it in float32.

    Raises:
        UnknownNameError: no such target or precision.
        TargetUnavailableError: the target is not offered at this precision, or its tools are missing here.
        CalibrationError: the table was made for another program than this model's for this target, or for
            another profile.
        LoweringError: the converter failed, or left something that its runtime cannot be trusted with.
        OutputError: ``dest`` exists already or cannot be written.
    """
    row = get_target(target) if isinstance(target, str) else target
    source, result = model.contracts
    version = importlib.metadata.version("fdikp-edge")
    provenance = {
        "version": version,
        "model": model.name,
        "weights_sha256": model.weights_sha256,
        "image_contract": model.deployable.contract,
        "plan": summarise(model.lowered.plan),
    }
    with ArtifactWriter(dest, overwrite=overwrite) as writer:
        row.check(precision)
        model = model.for_profile(row.profile)
        calibrated = precision in row.calibrated
        if calibrated and table is None:
            from .calibrate import calibrate  # which reads this module

            table = calibrate(model)
        built = row.build(model.lowered, precision, writer.folder, table=table, provenance=provenance)
        golden = crop(photo or read_photo(sample_photo()), source)
        np.save(writer.folder / GOLDEN_INPUT, golden, allow_pickle=False)
        np.save(writer.folder / GOLDEN_OUTPUT, model.reference(golden), allow_pickle=False)
        passport = Passport(
            model=model.name,
            weights_sha256=model.weights_sha256,
            program_sha256=model.lowered.sha256,
            target=row.name,
            precision=precision,
            plan=model.lowered.plan.to_json(),
            precision_census=built.precisions,
            calibration_sha256=table.sha256 if calibrated and table is not None else None,
            toolchain={"fdikp-edge": version, **built.toolchain},
            input=source,
            output=result,
            model_file=built.model_file,
            golden={"input": GOLDEN_INPUT, "output": GOLDEN_OUTPUT},
            state="unverified",
            reason="not verified yet",
            notes=[*model.notes, *built.notes],
        )
        return writer.commit(passport)


def reference_for(artifact: Artifact, model: nn.Module) -> Reference:
    """Return the reference that ``artifact`` was built from: ``model`` behind the artifact's image contract.

    Raises:
        BadInputError: the artifact was built from other weights.
    """
    passport = artifact.passport
    if zoo.weights_sha256(model) != passport.weights_sha256:
        raise BadInputError(
            f"{artifact.path}: was built from other weights of {passport.model} than those given to "
            "compare it with; name the weights file or the seed that it was built from"
        )
    contract = "uint8_nhwc" if passport.input.dtype == "uint8" else "float_nchw"
    return Reference(Deployable(model, image_contract(contract)).eval())


def export_artifact(
    model: nn.Module,
    target: str,
    precision: str,
    size: tuple[int, int],
    dest: str | Path,
    *,
    name: str | None = None,
    contract: str = "float_nchw",
    plan: Plan | dict[str, str] | None = None,
    table: CalibrationTable | None = None,
    overwrite: bool = False,
) -> Artifact:
    """Lower a network and build it for one target; see :func:`lower_model` and :func:`build_artifact`."""
    row = get_target(target)
    row.check(precision)
    lowered = lower_model(model, size, name=name, contract=contract, profile=row.profile, plan=plan)
    return build_artifact(lowered, row, precision, dest, table=table, overwrite=overwrite)


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
