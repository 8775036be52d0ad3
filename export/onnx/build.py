"""The ``onnx`` target: torch's exporter on the lowered program, simplified, checked, in one file.

The opset is 18 (:data:`.exporter.OPSET`). Every runtime this toolkit supports reads it: ONNX Runtime from
1.23 here, and TensorRT from 10.3 (JetPack 6.1), whose parser takes opsets up to 20. IR version 10 goes with
it (ONNX Runtime from 1.18).
"""

from __future__ import annotations

import contextlib
import copy
import importlib.metadata
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ...calibration.levels import LEVELS
from ...runtime.errors import CalibrationError, LoweringError
from ..forbidden import FORBIDDEN, check_census
from ..options import weight_levels
from ..storage import describe
from ..target import BuildResult
from . import checks, exporter
from .exporter import Ends
from .functions import inlined
from .gelu import order_gelu
from .quantise import census as layers_census
from .quantise import describe_weights
from .simplify import simplified
from .source.program import OnnxProgram
from .storage import store
from .target import ONNX

if TYPE_CHECKING:
    import onnx
    from torch.export import ExportedProgram

    from ...calibration.table import CalibrationTable
    from ..spectral import LoweredProgram

PRODUCER = "fdikp-edge"

Change = Callable[["onnx.ModelProto"], tuple["onnx.ModelProto", list[str]]]
"""Takes a model; returns it as another runtime needs it, and notes for the passport."""

_Converted = dict[tuple[bool, Ends], tuple["onnx.ModelProto", tuple[str, ...]]]
_CONVERTED: WeakKeyDictionary[ExportedProgram, _Converted] = WeakKeyDictionary()


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
        unsigned=True,
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
        exported = exporter.exported(program, names)
        sources = checks.provenance(exported)
        model = simplified(exported, notes, fold_weights=not as_calibrated)
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
