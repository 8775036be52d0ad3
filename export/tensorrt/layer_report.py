"""Which layers of a TensorRT engine compute in low precision, which stay in float, and why. Needs no GPU.

An engine tells its layers through an inspector that must load it, for which a GPU is needed. But a builder
that is asked for detailed profiling lists them in its log as well, with the type of each input and the ONNX
nodes that each was made from. Here that list is joined with the calibration table. The ``tensorrt-rtx``
target puts the outcome into the notes of its artifacts, and layer by layer into :data:`LAYERS_FILE`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ...runtime import strict_json

if TYPE_CHECKING:
    import onnx

    from ...calibration.table import ProgramCalibration

LAYERS_FILE = "layers.json"

_LAYER = re.compile(
    r"Name: (?P<name>[^,]*), LayerType: (?P<kind>\w+), Inputs: (?P<inputs>.*?), Constants: .*?, "
    r"Outputs: (?P<outputs>.*?), TacticName: [^,]*,.*?Metadata: (?P<metadata>.*)"
)
_TENSOR = re.compile(r"Name: ([^,]*),.*?Datatype: (\w+)")
_SILENT = {"wait", "signal"}
_NARROW: Mapping[str, str] = {"int8": "Int8", "fp16": "Half", "bf16": "BFloat16"}
"""Precision -> the word of TensorRT for the type that its layers are to compute in."""


@dataclass(frozen=True)
class EngineLayer:
    """One layer of an engine: its name, TensorRT's word for its kind, the type of its first input as TensorRT
    calls it (``Int8``, ``Float``, ``Half``), the ONNX nodes it was made from, and the names and types of the
    tensors that it reads and makes."""

    name: str
    kind: str
    dtype: str
    nodes: tuple[str, ...]
    reads: tuple[tuple[str, str], ...] = ()
    makes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class LayerOutcome:
    """What became of one layer of the network.

    ``node`` and ``module`` as in the calibration table. ``wanted`` is the artifact's precision, or ``float``,
    ``types`` the types that it computes in (more than one where capabilities differ), empty where the engine
    has no such layer. ``alone`` if it is a layer of its own and not part of a fused one. ``narrow`` if it
    computes in the artifact's precision; if it does not, ``reason`` says why.
    """

    node: str
    module: str
    wanted: str
    types: tuple[str, ...]
    alone: bool
    narrow: bool
    reason: str


def engine_layers(log: Iterable[str]) -> list[EngineLayer]:
    """Return the layers that the lines of a builder's log list; it must have been asked for detailed
    profiling."""
    layers = []
    for line in log:
        match = _LAYER.search(line)
        if match is None or match["kind"] in _SILENT:
            continue
        types = re.findall(r"Datatype: (\w+)", match["inputs"])
        nodes = re.findall(r"\[ONNX Layer: ([^\]]*)\]", match["metadata"])
        reads, makes = (tuple(_TENSOR.findall(match[side])) for side in ("inputs", "outputs"))
        dtype = types[0] if types else ""
        layers.append(EngineLayer(match["name"], match["kind"], dtype, tuple(nodes), reads, makes))
    return layers


def census(
    layers: Sequence[EngineLayer], model: onnx.ModelProto, section: ProgramCalibration, precision: str
) -> list[LayerOutcome]:
    """Join the layers of an engine with those of a calibration table.

    Args:
        layers: of :func:`engine_layers`.
        model: the ONNX file that the engine was built from.
        section: of the calibration table, for the program that the file was made of and its profile.
        precision: of the file: ``int8`` or ``fp16``.

    Returns:
        One entry for each layer of the table, in its order.
    """
    from ..onnx.checks import LAYERS, source_node

    named = {
        source_node(node): node.name
        for node in model.graph.node
        if node.op_type in LAYERS and source_node(node)
    }
    own: dict[str, list[EngineLayer]] = {}
    part: dict[str, list[EngineLayer]] = {}
    for layer in layers:
        for name in re.sub(r"_myl\d+_\d+$", "", layer.name).split("+"):
            own.setdefault(name, []).append(layer)
        for name in layer.nodes:
            part.setdefault(name, []).append(layer)
    outcomes = []
    for entry in section.layers:
        name = named.get(entry.node, "")
        alone = own.get(name, [])
        types = tuple(sorted({layer.dtype for layer in alone or part.get(name, [])} - {""}))
        reason = entry.reason if precision == "int8" else section.half.float32_layers.get(entry.node, "")
        wanted = "float" if reason else precision
        narrow = types == (_NARROW[precision],)
        if not reason and not narrow:
            reason = "TensorRT kept it in float" if types else "not found in the engine by name"
        why = "" if narrow else reason
        outcomes.append(LayerOutcome(entry.node, entry.module, wanted, types, bool(alone), narrow, why))
    return outcomes


def describe(outcomes: Sequence[LayerOutcome], precision: str) -> list[str]:
    """Say how many layers compute in few bits and, by reason, which do not, as an artifact's notes."""
    wanted = [outcome for outcome in outcomes if outcome.wanted == precision]
    narrow = [outcome for outcome in outcomes if outcome.narrow]
    notes = [
        f"engine: {len(narrow)} of {len(outcomes)} layers compute in {precision}, of {len(wanted)} that the "
        "table asks for"
    ]
    held: dict[str, list[LayerOutcome]] = {}
    for outcome in outcomes:
        if not outcome.narrow:
            held.setdefault(outcome.reason, []).append(outcome)
    for reason, those in held.items():
        modules = list(dict.fromkeys(outcome.module or "the root module" for outcome in those))
        more = f" and {len(modules) - 4} more" if len(modules) > 4 else ""
        notes.append(f"engine: {len(those)} layers in float ({', '.join(modules[:4])}{more}): {reason}")
    return notes


def describe_types(layers: Sequence[EngineLayer]) -> list[str]:
    """Say how many layers of an engine read which type, where no table says what was asked for."""
    counts = Counter(layer.dtype for layer in layers if layer.dtype).most_common()
    return [f"engine: layers by the type that they read: {', '.join(f'{n} {kind}' for kind, n in counts)}"]


def readers_of_int8_results(layers: Sequence[EngineLayer]) -> list[EngineLayer]:
    """Return the layers that read float32 only because a layer in 8 bits made it: its unscaled sums.

    TensorRT-RTX 1.7.1 returns those of convolutions in float32 even where everything around is float16
    ("Converting conv activation scales to fp32"). The kernel that reads them scales and casts them.
    """
    eight = {name for layer in layers if layer.dtype == _NARROW["int8"] for name, _ in layer.makes}
    return [
        layer
        for layer in layers
        if layer.dtype == "Float" and all(name in eight for name, kind in layer.reads if kind == "Float")
    ]


def describe_readers(layers: Sequence[EngineLayer]) -> list[str]:
    """Return a note on :func:`readers_of_int8_results`; none where there are none."""
    if not (readers := readers_of_int8_results(layers)):
        return []
    return [
        f"int8: {len(readers)} kernels of the engine read float32 because convolutions in int8 return their "
        "sums so; they scale and cast them"
    ]


def all_in_float(outcomes: Sequence[LayerOutcome]) -> bool:
    """Whether the types of all layers are known, and none computes in few bits."""
    return bool(outcomes) and all(outcome.types and not outcome.narrow for outcome in outcomes)


def to_json(outcomes: Sequence[LayerOutcome]) -> bytes:
    """Return the bytes of :data:`LAYERS_FILE`: what became of each layer."""
    return strict_json.canonical({"layers": [asdict(outcome) for outcome in outcomes]}) + b"\n"
