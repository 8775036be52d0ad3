"""Which layers of a TensorRT engine compute in 8 bits, which stayed wide, and why. Needs no GPU.

An engine tells its layers through an inspector that must load it, for which a GPU is needed. But a builder
that is asked for detailed profiling lists them in its log as well, with the type of each input and the ONNX
nodes that each was made from. Here that list is joined with the calibration table.

    python -m fdikp_edge.export.tensorrt_census table.json --model tiny --size 256x256

builds the int8 file of a network by TensorRT-RTX, ahead of time for one compute capability, and prints what
became of each layer.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..runtime import program
from ..runtime.errors import LoweringError, TargetUnavailableError

if TYPE_CHECKING:
    import onnx

    from ..calibration.table import Section

_LAYER = re.compile(
    r"Name: (?P<name>[^,]*), LayerType: (?P<kind>\w+), Inputs: (?P<inputs>.*?), Constants: .*?, "
    r"Outputs: .*?, TacticName: [^,]*,.*?Metadata: (?P<metadata>.*)"
)
_SILENT = {"wait", "signal"}
CAPABILITY = "SM86"


@dataclass(frozen=True)
class EngineLayer:
    """One layer of an engine: its name, TensorRT's word for its kind, the type of its first input as TensorRT
    calls it (``Int8``, ``Float``, ``Half``), and the ONNX nodes it was made from."""

    name: str
    kind: str
    dtype: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Fate:
    """What became of one layer of the network.

    ``node`` and ``module`` as in the calibration table. ``wanted`` is ``int8`` or ``float``, ``found`` the
    types that it computes in (more than one where capabilities differ), empty where the engine has no such
    layer. ``alone`` if it is a layer of its own and not part of a fused one. ``reason``: why it is wide.
    """

    node: str
    module: str
    wanted: str
    found: tuple[str, ...]
    alone: bool
    reason: str


def engine_layers(log: str) -> list[EngineLayer]:
    """Return the layers that a builder's log lists; it must have been asked for detailed profiling."""
    found = []
    for line in log.splitlines():
        match = _LAYER.search(line)
        if match is None or match["kind"] in _SILENT:
            continue
        types = re.findall(r"Datatype: (\w+)", match["inputs"])
        nodes = re.findall(r"\[ONNX Layer: ([^\]]*)\]", match["metadata"])
        found.append(EngineLayer(match["name"], match["kind"], types[0] if types else "", tuple(nodes)))
    return found


def census(layers: Sequence[EngineLayer], model: onnx.ModelProto, section: Section) -> list[Fate]:
    """Join the layers of an engine with those of a calibration table.

    Args:
        layers: of :func:`engine_layers`.
        model: the ONNX file that the engine was built from.
        section: of the calibration table, for the program that the file was made of.

    Returns:
        One entry for each layer of the table, in its order.
    """
    from .onnx_checks import source_node

    named = {
        source_node(node): node.name
        for node in model.graph.node
        if node.op_type in ("Conv", "Gemm", "MatMul") and source_node(node)
    }
    own: dict[str, list[EngineLayer]] = {}
    part: dict[str, list[EngineLayer]] = {}
    for layer in layers:
        for name in re.sub(r"_myl\d+_\d+$", "", layer.name).split("+"):
            own.setdefault(name, []).append(layer)
        for name in layer.nodes:
            part.setdefault(name, []).append(layer)
    fates = []
    for entry in section.layers:
        name = named.get(entry.node, "")
        alone = own.get(name, [])
        found = tuple(sorted({layer.dtype for layer in alone or part.get(name, [])} - {""}))
        wanted = "float" if entry.reason else "int8"
        reason = entry.reason
        if wanted == "int8" and found != ("Int8",):
            reason = "TensorRT kept it wide" if found else "not in the engine under its name"
        fates.append(Fate(entry.node, entry.module, wanted, found, bool(alone), reason))
    return fates


def describe(fates: Sequence[Fate]) -> list[str]:
    """Say how many layers compute in 8 bits and, by reason, which do not, as an artifact's notes."""
    wanted = [fate for fate in fates if fate.wanted == "int8"]
    narrow = [fate for fate in fates if fate.found == ("Int8",)]
    notes = [
        f"engine: {len(narrow)} of {len(fates)} layers compute in int8, of {len(wanted)} that the table "
        "asks for"
    ]
    held: dict[str, list[Fate]] = {}
    for fate in fates:
        if fate.found != ("Int8",):
            held.setdefault(fate.reason, []).append(fate)
    for reason, those in held.items():
        modules = list(dict.fromkeys(fate.module or "the root module" for fate in those))
        more = f" and {len(modules) - 4} more" if len(modules) > 4 else ""
        notes.append(f"engine: {len(those)} layers wide ({', '.join(modules[:4])}{more}): {reason}")
    return notes


def rtx_log(data: bytes, capability: str = CAPABILITY) -> str:
    """Build an engine by TensorRT-RTX, ahead of time, and return the builder's log with its layers.

    Args:
        data: an ONNX file.
        capability: compute capability, as TensorRT-RTX names it.

    Raises:
        TargetUnavailableError: TensorRT-RTX is not installed here.
        LoweringError: its parser or its builder refused the network; says what it said.
    """
    try:
        import tensorrt_rtx as trt
    except ImportError as error:
        raise TargetUnavailableError(
            f'TensorRT-RTX is not here ({error}): pip install "fdikp-edge[tensorrt-rtx]"'
        ) from error

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            """Keep a message, which may have many lines."""
            self.lines.append(message)

    log = Log()
    builder = trt.Builder(log)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log)
    if not parser.parse(data):
        said = "; ".join(parser.get_error(index).desc() for index in range(parser.num_errors))
        raise LoweringError(f"TensorRT-RTX's parser refused the network: {said[:500]}")
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, capability), 0)
    if builder.build_serialized_network(network, config) is None:
        raise LoweringError(f"TensorRT-RTX's builder refused the network: {log.lines[-1][:500]}")
    return "\n".join(log.lines)


def main() -> None:
    """Read the command line and print the census."""
    parser = argparse.ArgumentParser(
        prog="python -m fdikp_edge.export.tensorrt_census",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("table", type=Path, help="calibration table, as fdikp-edge calibrate writes it")
    parser.add_argument("--model", default="tiny", help="variant or weights file it was made for (tiny)")
    parser.add_argument("--size", default="256x256", metavar="HxW", help="size it was made for (256x256)")
    parser.add_argument("--capability", default=CAPABILITY, help=f"compute capability ({CAPABILITY})")
    parser.add_argument("--json", action="store_true", help="print JSON with every layer")
    program.run(lambda: _run(parser.parse_args()), extra="tensorrt-rtx")


def _run(given: argparse.Namespace) -> None:
    import json

    from ..calibration.table import read_table
    from .build import load_model, lower_model
    from .onnx import convert_to, serialise

    height, width = (int(side) for side in given.size.lower().split("x"))
    table = read_table(given.table)
    profiles = [section.profile for section in table.sections.values()]
    profile = next((name for name in ("tensorrt", "onnx") if name in profiles), profiles[0])
    model = lower_model(load_model(given.model), (height, width), profile=profile)
    section = table.section(model.lowered.sha256)
    graph, _ = convert_to(model.lowered, "int8", table)
    log = rtx_log(serialise(graph, "model.onnx"), given.capability)
    fates = census(engine_layers(log), graph, section)
    if given.json:
        print(json.dumps({"notes": describe(fates), "layers": [asdict(fate) for fate in fates]}, indent=2))
    else:
        print("\n".join(describe(fates)))


if __name__ == "__main__":
    main()
