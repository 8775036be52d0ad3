"""The ``onnx`` target: torch's exporter on the lowered program, simplified, checked, in one file.

Opset 18 is what torch's own operator library is written in, so nothing passes through a version converter.
Every runtime this toolkit supports reads it: ONNX Runtime from 1.23 here, and TensorRT from 10.3 (JetPack
6.1), whose parser takes opsets up to 20. IR version 10 goes with it (ONNX Runtime from 1.18).
"""

from __future__ import annotations

import contextlib
import copy
import importlib.metadata
import logging
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ...calibration.levels import LEVELS
from ...runtime.errors import CalibrationError, LoweringError
from ..forbidden import FORBIDDEN, check_census
from ..options import weight_levels
from ..storage import describe
from ..target import BuildResult
from . import checks
from .functions import define, inlined, translations
from .gelu import order_gelu
from .quantise import census as layers_census
from .quantise import describe_weights
from .source.program import OnnxProgram
from .storage import store
from .target import ONNX

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir
    from torch.export import ExportedProgram

    from ...calibration.table import CalibrationTable
    from ..spectral import LoweredProgram

OPSET = 18
PRODUCER = "fdikp-edge"

Ends = tuple[tuple[str, ...], tuple[str, ...]]
"""Names of inputs and of outputs."""

Change = Callable[["onnx.ModelProto"], tuple["onnx.ModelProto", list[str]]]
"""Takes a model; returns it as another runtime needs it, and notes for the passport."""

_Converted = dict[tuple[bool, Ends], tuple["onnx.ModelProto", tuple[str, ...]]]
_CONVERTED: WeakKeyDictionary[ExportedProgram, _Converted] = WeakKeyDictionary()
_EXPORTED: WeakKeyDictionary[ExportedProgram, dict[Ends, onnx.ModelProto]] = WeakKeyDictionary()


def build(
    lowered: LoweredProgram | OnnxProgram,
    precision: str,
    folder: Path,
    *,
    table: CalibrationTable | None = None,
    provenance: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
    change: Change | None = None,
) -> BuildResult:
    """Write ``model.onnx`` into ``folder``; see :class:`~fdikp_edge.export.target.Builder`.

    ``options``: ``weights`` is ``8bit`` or ``7bit``, the range of weights in int8. ``change`` rewrites
    the model for another runtime than ONNX Runtime on a processor.
    Inputs and outputs have the names of :attr:`.LoweredProgram.input_names` and ``output_names``. Each node
    carries the path of the module it came from in its metadata (``module``). The bytes follow from the
    program and the tools' versions alone.
    """
    levels = weight_levels(options)
    # Unsigned: ONNX Runtime on x86 is slower in int8 than in float32 with the other form.
    model, notes = convert_to(
        lowered,
        precision,
        table,
        unsigned=ONNX.rounds_results,
        weight_levels=levels,
        functions=True,
    )
    notes += describe_weights(precision, levels)
    if change is not None:
        model, changes = change(model)
        notes += changes
    facts = {**(provenance or {}), "precision": precision, "program_sha256": lowered.sha256}
    computed = checks.precisions(model)  # what only makes constants computes nothing in a call
    notes += describe(store(model))
    del model.graph.value_info[:]  # a runtime infers shapes itself
    checks.check(model, [])
    label(model, facts)
    name = ONNX.model_file
    data = serialise(model, name)
    (folder / name).write_bytes(data)
    census = checks.census(model)
    precisions = {**computed, **layers_census(table, lowered.key, precision, levels)}
    return BuildResult(name, toolchain(), census, precisions, notes)


def toolchain() -> dict[str, str]:
    """Return the versions of the tools that an ONNX file passes through here."""
    versions = {}
    for name in ("torch", "onnx", "onnxscript", "onnxsim"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def convert(
    program: ExportedProgram,
    allowed: Collection[str] = (),
    *,
    as_calibrated: bool = False,
    names: Ends | None = None,
) -> tuple[onnx.ModelProto, list[str]]:
    """Return a checked ONNX model of a lowered program, and notes on what was left undone.

    ``allowed`` are operators that a runtime has, although others have not (see :mod:`..forbidden`).

    Targets that build on ONNX share one conversion of a program, which takes seconds; each gets its own copy.
    ``as_calibrated`` leaves weights as they are: a scale or a normalisation that is multiplied into them
    changes what the layer reads or makes, and a range that was taken of it no longer fits. ``names`` are
    those of inputs and outputs; the program's own (:func:`..spectral.lower.end_names`) when ``None``.

    Raises:
        LoweringError: a converter failure, or a file that fails
            :func:`checks.check`.
    """
    from ..spectral.lower import end_names  # which imports torch

    done = _CONVERTED.setdefault(program, {})
    names = names or end_names(program)
    if (as_calibrated, names) not in done:
        notes: list[str] = []
        exported = _exported(program, names)
        sources = checks.provenance(exported)
        model = _simplified(exported, notes, fold_weights=not as_calibrated)
        order_gelu(model)
        checks.strip(model, sources)
        checks.check(model, notes, FORBIDDEN)
        done[as_calibrated, names] = (model, tuple(notes))
    kept, remarks = done[as_calibrated, names]
    check_census(checks.census(kept), "model.onnx", allowed)
    return copy.deepcopy(kept), list(remarks)


def convert_to(
    lowered: LoweredProgram | OnnxProgram,
    precision: str,
    table: CalibrationTable | None,
    *,
    unsigned: bool = False,
    weight_levels: int = LEVELS,
    functions: bool = False,
    allowed: Collection[str] = (),
    half_remainder: bool = False,
) -> tuple[onnx.ModelProto, list[str]]:
    """Return a checked ONNX model in ``precision``, and notes on what it holds.

    Args:
        lowered: the program, or a plain ONNX file in its place.
        precision: ``fp32``, ``fp16`` (casts, with float32 islands), ``bf16`` (casts) or ``int8`` (quantise
            and dequantise).
        table: made for this very program and profile; not needed for ``fp32`` and ``bf16``.
        unsigned: write int8 as uint8 with zero point 128, and round results too; see
            :mod:`.quantise`.
        weight_levels: the largest 8-bit value of a weight in int8.
        functions: keep the operators of our own domain, defined by functions in the file.
        allowed: as :func:`convert` takes it.
        half_remainder: what int8 leaves in floats is float16, with the islands of the table.

    Raises:
        CalibrationError: no table, or one of another program or profile.
        LoweringError: as :func:`convert`, or a layer of the table that the file lacks.
    """
    from .half import describe_bfloat16, narrow, narrow_remainder, narrow_to_bfloat16
    from .quantise import SIGNED, UNSIGNED, quantise
    from .quantise import describe as describe_layers

    def converted(*, as_calibrated: bool = False) -> tuple[onnx.ModelProto, list[str]]:
        if isinstance(lowered, OnnxProgram):
            return lowered.convert()
        names = (lowered.input_names, lowered.output_names)
        return convert(lowered.program, allowed, as_calibrated=as_calibrated, names=names)

    def finished(model: onnx.ModelProto) -> onnx.ModelProto:
        return model if functions else inlined(model)

    if precision == "fp32":
        model, notes = converted()
        return finished(model), notes
    if precision == "bf16":
        model, notes = converted()
        model = inlined(model)  # bodies of functions have types of their own
        notes += describe_bfloat16(narrow_to_bfloat16(model))
        checks.check(model, [], allowed)
        return model, notes
    if table is None:
        raise CalibrationError(f"{precision} needs a calibration table of this program")
    section = table.section(lowered.key)
    model, notes = converted(as_calibrated=precision == "int8")
    if precision == "fp16":
        counts = narrow(model, section.half.float32_layers)
        notes += section.half.describe(counts)
    else:
        quantise(model, table, lowered.key, UNSIGNED if unsigned else SIGNED, weight_levels)
        notes += describe_layers(section)
        if half_remainder:
            counts = narrow_remainder(model, section.half.float32_layers)
            notes += section.half.describe(counts)
    model = finished(model)
    checks.check(model, [], allowed)
    return model, notes


def serialise(model: onnx.ModelProto, name: str) -> bytes:
    """Return the model's bytes, the same every time.

    Raises:
        LoweringError: more than the 2 GB that protobuf can hold in one file.
    """
    if model.ByteSize() >= 2**31:
        raise LoweringError(f"{name}: {model.ByteSize() / 1e9:.1f} GB; a single ONNX file is limited to 2 GB")
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _exported(program: ExportedProgram, names: Ends) -> onnx.ModelProto:
    """Return what the exporter makes of a program, once for all precisions."""
    done = _EXPORTED.setdefault(program, {})
    if names not in done:
        done[names] = _export(program, names)
    return done[names]


def _export(program: ExportedProgram, names: Ends) -> onnx.ModelProto:
    import torch

    with quiet(), _named_nodes(program):
        try:
            exported = torch.onnx.export(
                program,
                (),
                None,
                dynamo=True,
                opset_version=OPSET,
                input_names=list(names[0]),
                output_names=list(names[1]),
                optimize=False,
                verbose=False,
                custom_translation_table=translations(program) or None,
            )
        except Exception as error:  # the exporter's own errors share no public base class
            lines = str(error).strip().splitlines()
            raise LoweringError(
                f"torch.onnx could not convert the lowered program: {type(error).__name__}: "
                f"{lines[0] if lines else 'no message'}"
            ) from error
    if exported is None:
        raise LoweringError("torch.onnx returned nothing for the lowered program")
    with quiet():
        _fold(exported.model)
    model = exported.model_proto
    define(model)
    return model


@contextlib.contextmanager
def _named_nodes(program: ExportedProgram) -> Iterator[None]:
    """Hand the exporter each node's name as its innermost module, the one label that it carries through."""
    before = {node: node.meta.get("nn_module_stack") for node in program.graph.nodes}
    for node, stack in before.items():
        if node.op == "call_function":
            scope = f"{checks.NODE_SCOPE}{node.name}"
            root = {"": ("", "torch.nn.Module")}
            node.meta["nn_module_stack"] = {**(stack or root), scope: (scope, "torch.nn.Module")}
    try:
        yield
    finally:
        for node, stack in before.items():
            if stack is None:
                node.meta.pop("nn_module_stack", None)
            else:
                node.meta["nn_module_stack"] = stack


def _fold(model: ir.Model) -> None:
    """Fold constants and drop what nobody reads.

    The exporter's own ``optimize=True`` also matches some fifty rewrite rules against every node, which takes
    minutes on a graph of a few thousand and changes nothing that onnxsim does not.
    """
    import onnx_ir.passes.common
    from onnxscript import optimizer

    common: Any = onnx_ir.passes.common  # its classes lack annotations
    optimizer.fold_constants(model, onnx_shape_inference=True)
    steps: Any = (
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedFunctionsPass(),
        common.RemoveUnusedOpsetsPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.DeduplicateInitializersPass(),
        common.NameFixPass(),
    )
    for step in steps:
        step(model)


def _simplified(model: onnx.ModelProto, notes: list[str], *, fold_weights: bool) -> onnx.ModelProto:
    """Return onnxsim's version of the model if that is worth having; else say why not in ``notes``."""
    if model.functions:
        return model  # a simplifier would put the bodies in place of what a runtime may have kernels for
    try:
        import onnxsim
    except ImportError:
        notes.append("onnxsim is not installed: the file was not simplified")
        return model
    try:
        if fold_weights:
            simpler, _ = onnxsim.simplify(model, check_n=0)
        else:
            # First fold what depends on stored tensors alone (a slice of a weight); then keep the weights.
            settled, _ = onnxsim.simplify(model, check_n=0, perform_optimization=False)
            simpler, _ = onnxsim.simplify(settled, check_n=0, initializers_as_constants=False)
    except Exception as error:
        notes.append(
            f"onnxsim failed and was not used: {type(error).__name__}: {str(error).splitlines()[:1]}"
        )
        return model
    if problem := _harm(model, simpler):
        notes.append(f"onnxsim was not used: {problem}")
        return model
    result: onnx.ModelProto = simpler
    return result


def _harm(before: onnx.ModelProto, after: onnx.ModelProto) -> str | None:
    """Say how a simplified model is worse, or ``None``."""
    import onnx

    try:
        onnx.checker.check_model(after, full_check=True)
    except Exception as error:
        return f"its result is not valid ONNX ({str(error).splitlines()[0]})"
    if len(after.graph.node) > len(before.graph.node):
        return f"it made {len(after.graph.node)} nodes out of {len(before.graph.node)}"
    if after.ByteSize() > 1.1 * before.ByteSize() + 2**20:
        return f"it made {after.ByteSize() / 1e6:.0f} MB out of {before.ByteSize() / 1e6:.0f} MB"
    worst = _difference(before, after)
    return None if worst <= 1e-5 else f"it changed the result by {worst:.1e} of its range"


def _difference(before: onnx.ModelProto, after: onnx.ModelProto) -> float:
    """Run both models once on noise: largest difference, relative to the largest value."""
    import numpy as np
    import onnxruntime as ort

    def run(model: onnx.ModelProto) -> Any:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        rng = np.random.default_rng(0)
        feeds = {port.name: _noise(rng.random(port.shape), port.type) for port in session.get_inputs()}
        return [result.astype(np.float64) for result in session.run(None, feeds)]

    differences = []
    for port, expected, actual in zip(after.graph.output, run(before), run(after), strict=True):
        # One step of a byte is rounding's business.
        slack = 1.0 if port.type.tensor_type.elem_type == 2 else 0.0
        with np.errstate(invalid="ignore"):  # a network may be broken; that is for the parity check to say
            worst = np.abs(actual - expected).max(initial=0.0)
        differences.append(float(max(worst - slack, 0.0) / max(np.abs(expected).max(initial=0.0), 1e-30)))
    return max(differences)


def _noise(noise: Any, kind: str) -> Any:
    """Noise from 0 to 1 as an input of ONNX Runtime's type ``kind``."""
    import numpy as np

    scaled = noise * 255 if kind == "tensor(uint8)" else noise
    types = {"tensor(uint8)": np.uint8, "tensor(int32)": np.int32, "tensor(int64)": np.int64}
    return noise < 0.5 if kind == "tensor(bool)" else scaled.astype(types.get(kind, np.float32))


def label(model: Any, facts: Mapping[str, str]) -> None:
    """Write facts and the tools' versions into a finished model."""
    model.producer_name = PRODUCER
    model.producer_version = importlib.metadata.version(PRODUCER)
    model.graph.name = "main"
    model.doc_string = ""
    tools = " ".join(f"{name} {version}" for name, version in toolchain().items())
    for key, value in sorted({**facts, "toolchain": tools}.items()):
        entry = model.metadata_props.add()
        entry.key, entry.value = f"fdikp_edge.{key}", str(value)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporter's remarks (torchvision is not installed, and such) off the user's screen."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
