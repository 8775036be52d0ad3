"""The ``litert`` target: a ``.tflite`` file, converted by litert-torch in an environment of its own.

litert-torch pulls packages that do not go with this project's, so it runs in another process, with the
interpreter that ``fdikp-edge setup litert`` made. The lowered program goes over as ``torch.export`` writes
it, which is why both have the same PyTorch; a file comes back, and our own reader checks it.

``fp16`` stores constants in float16, half of the bytes. LiteRT widens them when it loads the file and
computes in float32 on a processor; a GPU delegate may compute in float16. ``int8`` is written into the
converted file by :mod:`.worker`: the converter's own quantised types refuse programs in which 8 bits and
floats alternate.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...runtime.errors import LoweringError, TargetUnavailableError
from ...runtime.outside.files import read_bounded
from ...runtime.outside.tflite import TfliteModel, read_tflite
from ...runtime.passport import QUANTISED_LAYERS
from ..forbidden import table as counted
from ..onnx.quantise import census as layers_census
from ..onnx.quantise import describe
from ..target import BuildResult
from . import worker
from .environment import LITERT as ENVIRONMENT
from .layers import Int8Layers
from .target import LITERT

if TYPE_CHECKING:
    from ...calibration.table import CalibrationTable
    from ..spectral import LoweredProgram

SIGNATURE = "serving_default"
"""The name of the only signature, which is what apps that name none get."""
METADATA = "fdikp_edge"
"""The name under which the file's metadata have the provenance, as JSON."""
MAX_SECONDS = 3600.0
MAX_ANSWER_BYTES = 1024**2
_DELEGATES = {
    "gpu": "the GPU delegate",
    "nnapi": "NNAPI, which Android has deprecated since version 15",
}


def build(
    lowered: LoweredProgram,
    precision: str,
    folder: Path,
    *,
    table: CalibrationTable | None = None,
    provenance: Mapping[str, str] | None = None,
    options: Mapping[str, str] | None = None,
) -> BuildResult:
    """Write ``model.tflite`` into ``folder``; see :class:`~fdikp_edge.export.target.Builder`.

    ``options``: ``delegate`` is what the app should run the file on; it is written into the file's metadata.

    Raises:
        TargetUnavailableError: the converter's environment is missing, or memory ran out.
        LoweringError: the converter failed, or its file is not what it should be.
    """
    import torch

    name, delegate = LITERT.model_file, (options or {}).get("delegate", "cpu")
    layers, notes, counts = Int8Layers(), list[str](), dict[str, int]()
    if precision == "int8" and table is not None:
        layers = Int8Layers.of(lowered, table)
        notes += describe(table.section(lowered.key), biases="int32, of products float32")
        counts = layers_census(table, lowered.key, precision)
    facts = {
        **(provenance or {}),
        "precision": precision,
        "program_sha256": lowered.sha256,
        "delegate": delegate,
    }
    request = {
        "layers": layers.rows,
        "wide": any("int64" in kind for kind in _types(lowered)),
        "half": precision == "fp16",
        "signature": SIGNATURE,
        "inputs": list(lowered.input_names),
        "outputs": list(lowered.output_names),
        "description": f"written by fdikp-edge, {precision}",
        "metadata": {METADATA: json.dumps(facts, sort_keys=True)},
    }
    with tempfile.TemporaryDirectory(prefix="fdikp-edge-litert-") as scratch:
        place = Path(scratch)
        torch.export.save(lowered.program, place / worker.PROGRAM)
        layers.write(place / worker.BIASES)
        (place / worker.REQUEST).write_text(json.dumps(request), encoding="utf-8")
        answer = _convert(place)
        data = read_bounded(place / worker.MODEL, 2**31 - 1)
    model = check(data)
    (folder / name).write_bytes(data)
    if precision == "fp16":
        notes.append(
            f"float16: {answer['halved']} constants are stored in it and widened when the file is loaded; a "
            "processor computes in float32"
        )
    if floats := [*layers.kept, *(layers.labels[place] for place in answer["floats"])]:
        counts[QUANTISED_LAYERS] -= len(floats)
        notes.append(
            f"int8: {len(floats)} layers of the table stay in floats ({', '.join(floats)}), because the "
            "converter merged them with other operators, or LiteRT cannot hold their biases"
        )
    if delegate != "cpu":
        notes.append(f"meant for {_DELEGATES[delegate]}; nothing here ran it there")
    versions = {str(tool): str(version) for tool, version in answer["versions"].items()}
    return BuildResult(name, versions, counted(model.census), {**precisions(model), **counts}, notes)


def check(data: bytes) -> TfliteModel:
    """Read a converted file as a session will.

    Raises:
        LoweringError: a session would refuse it; says why.
    """
    try:
        return read_tflite(data)
    except (ValueError, OverflowError) as error:
        raise LoweringError(
            f"{LITERT.model_file}: the converter wrote a file that {error}; a session would refuse it"
        ) from error


def precisions(model: TfliteModel) -> dict[str, int]:
    """Return how many operators compute in each element type, by the type of their first result."""
    counts: Counter[str] = Counter()
    for operator in model.operators:
        kind = model.tensors[operator.outputs[0]].dtype
        counts["float" if kind == "float32" else kind] += 1
    return counted(counts)


def _convert(place: Path) -> dict[str, Any]:
    """Run the converter on what lies in a folder, and return its answer.

    Raises:
        TargetUnavailableError: it cannot be run.
        LoweringError: it failed.
    """
    if (problem := ENVIRONMENT.problem()) or (python := ENVIRONMENT.python()) is None:
        raise TargetUnavailableError(f"target litert: {problem}")
    words = [str(python), "-I", str(Path(worker.__file__).resolve().parent), str(place)]
    try:
        done = subprocess.run(
            words, cwd=place, capture_output=True, text=True, errors="replace", timeout=MAX_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise LoweringError(f"litert-torch did not finish within {MAX_SECONDS / 60:.0f} minutes") from error
    except OSError as error:
        raise TargetUnavailableError(f"target litert: {python} cannot be run: {error.strerror}") from error
    file = place / worker.ANSWER
    if not file.is_file():
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no message"]
        raise LoweringError(
            f"litert-torch ended with code {done.returncode} and no result: {lines[-1][:300]}"
        )
    answer: dict[str, Any] = json.loads(read_bounded(file, MAX_ANSWER_BYTES))
    if answer["problem"] == "out of memory":
        raise TargetUnavailableError("target litert: the converter ran out of memory; use a smaller size")
    if answer["problem"]:
        raise LoweringError(f"litert-torch cannot convert the lowered program: {answer['problem']:.400}")
    return answer


def _types(lowered: LoweredProgram) -> list[str]:
    """Return the element types of a program's inputs and outputs."""
    signature = lowered.program.graph_signature
    ends = {*map(str, signature.user_inputs), *map(str, signature.user_outputs)}
    return [
        str(getattr(node.meta.get("val"), "dtype", ""))
        for node in lowered.program.graph.nodes
        if node.name in ends
    ]
