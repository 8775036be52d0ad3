"""From a network to artifacts: lower it once, then build it for as many targets and precisions as wanted."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from ..models import zoo
from ..runtime.artifact import Artifact, ArtifactWriter
from ..runtime.errors import BadInputError
from ..runtime.images import read_photo
from ..runtime.passport import Passport
from ..runtime.photo import Photo
from ..runtime.pixels import crop
from ..runtime.samples import sample_photo
from .contracts import Deployable, image_contract
from .lowered import LoweredModel, lower_model, summarise
from .reference import Reference
from .spectral import Plan
from .target import Target
from .targets import get_target

if TYPE_CHECKING:
    from ..calibration.table import CalibrationTable

GOLDEN_INPUT = "golden_input.npy"
GOLDEN_OUTPUT = "golden_output.npy"


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
            image_contract=model.deployable.contract,
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
    return Reference(Deployable(model, image_contract(passport.contract)).eval())


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
