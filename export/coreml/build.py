"""The ``coreml`` target: an ML program (``.mlpackage``) for iOS 17, macOS 14 and up, by coremltools.

``fp16`` keeps in float32 what the certificate asks for (:mod:`.precision`); ``int8`` is ``fp16``
with the weights of convolutions in eight bits, a scale per output channel, and what they read rounded to
eight bits as a calibration table says (:mod:`.activations`). Transforms are never quantised.
The package is read back with the toolkit's own reader before it is believed.
"""

from __future__ import annotations

import io
import json
import shutil
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...runtime.errors import LoweringError
from ...runtime.mil import Package
from ...runtime.sessions import quiet as sessions_quiet
from ..forbidden import check_census, table
from ..onnx.quantise import describe
from ..target import BuildResult
from .activations import round_inputs
from .precision import islands, operation_selector
from .prepare import Prepared, prepare
from .target import COREML

if TYPE_CHECKING:
    from ...calibration.table import CalibrationTable
    from ..spectral import LoweredProgram

COMPUTE_UNITS = {"fp32": "CPU_AND_GPU", "fp16": "CPU_AND_NE", "int8": "CPU_AND_NE"}
"""The hint an app should follow: the Neural Engine computes in float16 only."""

_SILENT = {"const", "identity"}
NODES = "nodes"
"""Key under ``fdikp_edge`` in the package's metadata: names of operations -> nodes of the program."""


def build(
    lowered: LoweredProgram,
    precision: str,
    folder: Path,
    *,
    table: CalibrationTable | None = None,
    provenance: Mapping[str, str] | None = None,
) -> BuildResult:
    """Write ``model.mlpackage`` into ``folder``; see :class:`~fdikp_edge.export.target.Builder`.

    A float program takes and returns float32 arrays; one of bytes takes and returns RGB images. The bytes
    follow from the program and the tools' versions alone.
    """
    with quiet():  # it announces what it lacks off a Mac
        import coremltools

    name = COREML.model_file
    prepared = prepare(lowered.program, lowered.input_names, lowered.output_names)
    kept = islands(lowered, table if precision == "int8" else None) if precision != "fp32" else {}
    model = _convert(prepared, precision, kept)
    notes = [f"float32 in {path or 'the root module'}: {why}" for path, why in sorted(kept.items())]
    counts: dict[str, int] = {}
    if precision == "int8":
        if table is None:
            notes.append("int8: weights only, because no calibration table was given")
        else:
            with quiet():
                model, counts["int8 layers"] = round_inputs(model, lowered, table)
            notes += describe(table.section(lowered.key))
        model = _quantised(model)
    facts = {
        **(provenance or {}),
        "precision": precision,
        "program_sha256": lowered.sha256,
        "compute_units": COMPUTE_UNITS[precision],
        NODES: json.dumps({name: node for name, node in prepared.nodes.items() if node}),
    }
    write_package(model, folder / name, facts)
    package = Package.open(folder / name)
    census = check(package)
    versions = {"torch": _version("torch"), "coremltools": str(coremltools.__version__)}
    return BuildResult(name, versions, census, {**precisions(package), **counts}, notes)


def check(package: Package) -> dict[str, int]:
    """Check a finished package and return its operations by type, most frequent first.

    Raises:
        LoweringError: control flow, or a convolution whose kernels are not stored.
    """
    stored = set()
    for operation in package.program.operations:
        if operation.type == "const" or operation.type.startswith("constexpr_"):
            stored.add(operation.outputs[0][0])
        weights = operation.inputs.get("weight", ()) if operation.type.startswith("conv") else ()
        if any(isinstance(name, str) and name not in stored for name in weights):
            raise LoweringError(
                f"model.mlpackage: {operation} has kernels computed at run time, which Core ML runs slowly "
                'or not at all; lower the network with target="coreml"'
            )
    counts = Counter(operation.type for operation in package.program.operations if operation.type != "const")
    census = table_of(counts)
    check_census(census, "model.mlpackage")
    return census


def precisions(package: Package) -> dict[str, int]:
    """Return how many operations compute in each element type, by the type of their first result."""
    counts: Counter[str] = Counter()
    for operation in package.program.operations:
        if operation.type not in _SILENT and not operation.type.startswith("constexpr_"):
            kind = operation.outputs[0][1].dtype
            counts["float" if kind == "float32" else kind] += 1
    return table_of(counts)


def write_package(model: Any, path: Path, facts: Mapping[str, str]) -> None:
    """Write a converted model as a package whose bytes are the same every time."""
    spec = model.get_spec()
    written = spec.description.metadata.userDefined
    written.pop("com.github.apple.coremltools.conversion_date", None)
    for key, value in facts.items():
        written[f"fdikp_edge.{key}"] = str(value)
    home = path / "Data" / "com.apple.CoreML"
    (home / "weights").mkdir(parents=True)
    (home / "model.mlmodel").write_bytes(spec.SerializeToString(deterministic=True))
    weights = Path(model.weights_dir) / "weight.bin"
    if weights.is_file():
        shutil.copyfile(weights, home / "weights" / "weight.bin")
    items = {
        "model.mlmodel": "CoreML Model Specification",
        "weights": "CoreML Model Weights",
    }
    entries = {
        _identifier(item): {
            "author": "com.apple.CoreML",
            "description": description,
            "name": item,
            "path": f"com.apple.CoreML/{item}",
        }
        for item, description in items.items()
    }
    manifest = {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": entries,
        "rootModelIdentifier": _identifier("model.mlmodel"),
    }
    (path / "Manifest.json").write_text(json.dumps(manifest, indent=4) + "\n", encoding="utf-8")


def table_of(counts: Counter[str]) -> dict[str, int]:
    """Return the counts, most frequent first; ``table`` is the builder's word for something else."""
    return table(counts)


def _convert(prepared: Prepared, precision: str, kept: Mapping[str, str]) -> Any:
    import coremltools as ct
    import numpy as np

    colors = {1: ct.colorlayout.GRAYSCALE, 3: ct.colorlayout.RGB}
    for end in (*prepared.inputs, *prepared.outputs):
        if end.is_image and (end.shape[0] != 1 or end.shape[1] not in colors):
            raise LoweringError(
                f"{end.name}: an image of Core ML is one picture of grey or RGB, not {list(end.shape)}; "
                "use the float contract"
            )
    inputs = [
        ct.ImageType(name=end.name, shape=end.shape, color_layout=colors[end.shape[1]])
        if end.is_image
        else ct.TensorType(name=end.name, shape=end.shape, dtype=np.dtype(end.dtype).type)
        for end in prepared.inputs
    ]
    outputs = [
        ct.ImageType(name=end.name, color_layout=colors[end.shape[1]])
        if end.is_image
        else ct.TensorType(name=end.name, dtype=np.dtype(end.dtype).type)
        for end in prepared.outputs
    ]
    arithmetic = (
        ct.precision.FLOAT32
        if precision == "fp32"
        else ct.transform.FP16ComputePrecision(operation_selector(prepared, kept))
    )
    try:
        with quiet():
            return ct.convert(
                prepared.program,
                inputs=inputs,
                outputs=outputs,
                convert_to="mlprogram",
                compute_precision=arithmetic,
                minimum_deployment_target=ct.target.iOS17,
                skip_model_load=True,
            )
    except Exception as error:  # coremltools raises errors of many kinds
        lines = [line for line in str(error).strip().splitlines() if line] or ["no message"]
        raise LoweringError(
            f"coremltools cannot convert the lowered program: {type(error).__name__}: {lines[-1]}"
        ) from error


def _quantised(model: Any) -> Any:
    """Return the model with the weights of convolutions in eight bits."""
    import coremltools.optimize.coreml as cto

    rows = cto.OpLinearQuantizerConfig(
        mode="linear_symmetric", granularity="per_channel", weight_threshold=32
    )
    # A product with a transform becomes a linear layer, and one of windows a convolution: the first are left
    # out as a type, the second by the names of their constants. Equal constants are stored once: one that a
    # convolution shares with another layer, such as biases of zero, stays as it is.
    (block,) = model.get_spec().mlProgram.functions["main"].block_specializations.values()
    readers: dict[str, set[str]] = {}
    for operation in block.operations:
        for given in operation.inputs.values():
            for argument in given.arguments:
                readers.setdefault(argument.name, set()).add(operation.type)
    names = [operation.outputs[0].name for operation in block.operations if operation.type == "const"]
    kept = [name for name in names if "spectral" in name or {"conv"} < readers.get(name, set())]
    with quiet():
        config = cto.OptimizationConfig(
            global_config=None,
            op_type_configs={"conv": rows},
            op_name_configs=dict.fromkeys(kept),
        )
        return cto.linear_quantize_weights(model, config)


def _identifier(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"fdikp-edge/{name}"))


def _version(distribution: str) -> str:
    import importlib.metadata

    return importlib.metadata.version(distribution)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep coremltools' progress bars and remarks on torch's version off the user's screen."""
    # Its progress bars ask nobody; an error arrives as an exception all the same.
    with sessions_quiet.quiet("coremltools", "coremltools.optimize"), redirect_stderr(io.StringIO()):
        yield
