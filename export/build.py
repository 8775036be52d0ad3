"""From a network to artifacts: lower it once, then build it for as many targets and precisions as wanted."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from ..models import sources, zoo
from ..models.sources.base import NetworkSource
from ..runtime.artifact import Artifact, ArtifactWriter
from ..runtime.errors import BadInputError, CalibrationError
from ..runtime.passport import Passport
from ..runtime.photo import Photo
from ..runtime.tensors import described
from .contracts import Deployable, image_contract, tensor_contract
from .inputs import samples_of
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
    from the photos that are shipped, for fp16 without what int8 needs; elsewhere ``table`` is left alone.

    Its golden inputs are the middle of ``photo``, or else the first of the network's samples
    (:func:`.inputs.samples_of`), its golden outputs what PyTorch eager makes of them in float32.

    Raises:
        UnknownNameError: no such target or precision.
        TargetUnavailableError: the target is not offered at this precision, or its tools are missing here.
        CalibrationError: the table was made for another program than this model's for this target, for
            another profile, or for fp16 alone where int8 is asked for.
        LoweringError: the converter failed, or left something that its runtime cannot be trusted with.
        OutputError: ``dest`` exists already or cannot be written.
        BadInputError: a photo for a network that takes something else.
    """
    row = get_target(target) if isinstance(target, str) else target
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

            table = calibrate(model, for_int8=precision != "fp16")
        if precision == "int8" and table is not None and table.samples.get("noise"):
            raise CalibrationError(
                "int8 needs samples of what the network is used on, because ranges of noise ruin the result "
                "unnoticed: give them with --samples (a folder of .npz files, with an array for each of the "
                f"inputs {described(model.inputs)}), or let the source bring them (NetworkSource.samples)"
            )
        if (
            precision == "int8"
            and calibrated
            and table is not None
            and not table.section(model.lowered.key).for_int8
        ):
            raise CalibrationError(
                "this calibration table was made for fp16 alone, and int8 needs ranges: calibrate again"
            )
        built = row.build(model.lowered, precision, writer.folder, table=table, provenance=provenance)
        golden = _write_golden(model, writer.folder, photo)
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
            inputs=model.inputs,
            outputs=model.outputs,
            image_contract=model.deployable.contract,
            source=model.source.spec or None,
            model_file=built.model_file,
            golden=golden,
            state="unverified",
            reason="not verified yet",
            notes=[*model.notes, *built.notes],
        )
        return writer.commit(passport)


def _write_golden(model: LoweredModel, folder: Path, photo: Photo | None) -> dict[str, list[str]]:
    """Write recorded inputs and outputs, and return their files as the passport lists them."""
    arrays = samples_of(model.source, model.inputs, [photo] if photo is not None else [])[0].arrays
    ends = (("inputs", GOLDEN_INPUT, arrays), ("outputs", GOLDEN_OUTPUT, model.reference(arrays)))
    written: dict[str, list[str]] = {}
    for key, file, values in ends:
        written[key] = []
        for index, value in enumerate(values.values()):
            name = file if len(values) == 1 else file.replace(".npy", f"_{index}.npy")
            np.save(folder / name, value, allow_pickle=False)
            written[key].append(name)
    return written


def reference_for(artifact: Artifact, model: nn.Module | NetworkSource) -> Reference:
    """Return the reference that ``artifact`` was built from: ``model`` behind the artifact's image contract.

    Raises:
        BadInputError: the artifact was built from other weights.
    """
    passport = artifact.passport
    source = model if isinstance(model, NetworkSource) else sources.of(model)
    module = source.load() if isinstance(model, NetworkSource) else model
    if zoo.weights_sha256(module) != passport.weights_sha256:
        raise BadInputError(
            f"{artifact.path}: was built from other weights of {passport.model} than those given to "
            "compare it with; name the weights file or the seed that it was built from"
        )
    pictures = (contract.size for contract in passport.inputs if contract.is_picture)
    size = next(pictures, None)
    specs = [spec.at(size) for spec in source.inputs]
    contract = image_contract(passport.contract)
    taken = tuple(tensor_contract(spec, contract) for spec in specs)
    if taken != passport.inputs:
        raise BadInputError(
            f"{artifact.path}: takes {described(passport.inputs)}; the network given takes {described(taken)}"
        )
    names = [output.name for output in passport.outputs]
    return Reference(Deployable(module, contract, specs, source.outputs).eval(), names)


def export_artifact(
    model: nn.Module | NetworkSource,
    target: str,
    precision: str,
    size: tuple[int, int] | None,
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
