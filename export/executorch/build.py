"""The ``executorch`` target: a ``.pte`` whose operators XNNPACK computes, or another delegate.

The lowered program is first rewritten to operators that XNNPACK takes (:mod:`.prepare`). What still stays
with ExecuTorch's own kernels is counted in the finished file, which is read back without ExecuTorch, and
stands in the passport. The names of inputs and outputs, for which the format has no place, and the
provenance are in a second method of the program, as JSON text.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...runtime.errors import LoweringError
from ...runtime.outside.pte import DESCRIPTION, PteProgram, read_pte
from ...runtime.passport import OUTSIDE_DELEGATE, QUANTISED_LAYERS
from ...runtime.sessions.quiet import EXECUTORCH_LOGGERS, quiet
from ..forbidden import check_census
from ..forbidden import table as counted
from ..onnx.quantise import describe
from ..target import BuildResult
from .delegates import open_delegate
from .half import half_program
from .prepare import prepare
from .quantise import quantised_program
from .target import EXECUTORCH

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from ...calibration.table import CalibrationTable
    from ..spectral import LoweredProgram


def build(
    lowered: LoweredProgram,
    precision: str,
    folder: Path,
    *,
    table: CalibrationTable | None = None,
    provenance: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
) -> BuildResult:
    """Write ``model.pte`` into ``folder``; see :class:`~fdikp_edge.export.target.Builder`.

    ``options``: ``delegate`` is what computes the operators; see :mod:`.delegates`.

    Raises:
        TargetUnavailableError: the delegate's tools are not installed here.
        LoweringError: ExecuTorch cannot convert the program, or its file is not what it should be.
    """
    delegate = (options or {}).get("delegate", "xnnpack")
    with quiet(*EXECUTORCH_LOGGERS):
        partitioner = open_delegate(delegate)
    facts: dict[str, Any] = {
        **(provenance or {}),
        "precision": precision,
        "program_sha256": lowered.sha256,
        "delegate": delegate,
        "inputs": list(lowered.input_names),
        "outputs": list(lowered.output_names),
    }
    network, remarks, types = lowered.program, list[str](), dict[str, int]()
    if precision == "fp16" and table is not None:
        network, types = half_program(lowered, table)
        remarks = table.section(lowered.key).half.describe(types)
    if precision == "int8" and table is not None:
        network = quantised_program(lowered, table)
        remarks = describe(table.section(lowered.key))
    data = convert(prepare(network), partitioner, json.dumps(facts, sort_keys=True))
    name = EXECUTORCH.model_file
    (folder / name).write_bytes(data)
    program = check(data, name)
    versions = {each: importlib.metadata.version(each) for each in ("torch", "executorch", "torchao")}
    counts = {**(types or {"float": floats(program)}), **precisions(program, precision)}
    return BuildResult(name, versions, census(program), counts, [*notes(program, delegate), *remarks])


def convert(program: ExportedProgram, partitioner: Any, description: str) -> bytes:
    """Return the bytes of a ``.pte`` with two methods: the network, and its description as text.

    Raises:
        LoweringError: ExecuTorch cannot convert it.
    """
    with quiet(*EXECUTORCH_LOGGERS):
        from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower

        try:
            edge = to_edge_transform_and_lower(
                program,
                partitioner=[partitioner],
                compile_config=EdgeCompileConfig(_check_ir_validity=False),
                constant_methods={DESCRIPTION: description},
            )
            return bytes(edge.to_executorch().buffer)
        except Exception as error:  # of many kinds, by the pass that failed
            lines = [line for line in str(error).strip().splitlines() if line] or ["no message"]
            raise LoweringError(
                f"ExecuTorch cannot convert the lowered program: {type(error).__name__}: {lines[0][:300]}"
            ) from error


def check(data: bytes, name: str) -> PteProgram:
    """Read a finished file without ExecuTorch.

    Raises:
        LoweringError: it is not what this toolkit's own reader takes, or holds a transform.
    """
    try:
        program = read_pte(data)
    except ValueError as error:
        raise LoweringError(f"{name}: ExecuTorch wrote a file that {error}") from error
    kernels = {kernel.removeprefix("aten::").partition(".")[0]: n for kernel, n in program.kernels.items()}
    check_census(kernels, name)
    return program


def census(program: PteProgram) -> dict[str, int]:
    """Return the operators by type: XNNPACK's by its own names, the others as ATen calls them."""
    return counted(program.delegated + program.kernels)


def floats(program: PteProgram) -> int:
    """Return how many operators make floats."""
    return sum(program.delegated.values()) - sum(program.rounded.values()) + sum(program.kernels.values())


def precisions(program: PteProgram, precision: str) -> dict[str, int]:
    """Return how many operators run outside the delegate, and, of an int8 program, how many make 8 bits and
    how many layers compute in 8 bits. They are counted in the file: a delegate may take a layer in floats."""
    outside = {OUTSIDE_DELEGATE: sum(program.kernels.values())}
    if precision != "int8":
        return outside
    return {**outside, "int8": sum(program.rounded.values()), QUANTISED_LAYERS: program.quantised_layers}


def notes(program: PteProgram, delegate: str) -> list[str]:
    """Return what the passport says of what is computed where."""
    parts = f"{program.calls} part{'' if program.calls == 1 else 's'}"
    if delegate != "xnnpack":
        outside = sum(program.kernels.values())
        return [f"delegate {delegate}: {parts}; {outside} operators outside it; not run on this machine"]
    inside, outside = sum(program.delegated.values()), sum(program.kernels.values())
    share = 100 * outside / max(1, inside + outside)
    first = f"XNNPACK computes {inside} operators in {parts}; {outside} ({share:.0f} %) stay outside"
    if not outside:
        return [first]
    kinds = ", ".join(f"{n} {kernel}" for kernel, n in counted(program.kernels).items())
    return [f"{first}: {kinds}"]
