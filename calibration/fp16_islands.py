"""Which parts of a program keep float32 when the rest goes to float16, decided by evidence.

For each transform there is a certificate: how large its values can possibly get, from its matrices and the
largest input seen on photos, and how large they did get. Then the program is run with every value rounded to
float16 (:class:`~.emulate.HalfRunner`). Where the picture is not good enough, modules are ranked by what they
alone lose, and the worst are kept in float32 until it is.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from ..runtime.photo import Array
from .emulate import HalfRunner
from .layers import module_of
from .runner import Feed, Runner, closeness_db
from .worst_parts import Told, Trials, worst_parts

HALF_MAX = 65504.0
HALF_TILES = 2
"""Tiles that float16 is emulated on."""
WANTED_DB = 66.0
"""Twice (6 dB) better than the budget of 60 dB, since a photo is not one of the tiles."""
HEADROOM = 4.0
"""How far a peak seen on photos must stay below the largest float16, where the bound does not settle it."""


@dataclass(frozen=True)
class Transform:
    """One transform: its site and module, its nodes, the nodes it reads, and its largest possible gain."""

    site: str
    module: str
    nodes: tuple[str, ...]
    inputs: tuple[str, ...]
    gain: float


@dataclass(frozen=True)
class Certificate:
    """Why a transform may, or may not, be computed in float16.

    ``bound``: ``gain`` times ``input_peak``, which no value in it can exceed on the tiles; ``peak``: the
    largest value that did occur. ``decision``: ``float16`` or ``float32``, and why.
    """

    site: str
    module: str
    gain: float
    input_peak: float
    bound: float
    peak: float
    decision: str

    @property
    def overflows(self) -> bool:
        """Whether the transform must stay in float32."""
        return not (self.bound <= HALF_MAX or self.peak * HEADROOM <= HALF_MAX)  # also where one is NaN


@dataclass(frozen=True)
class HalfPlan:
    """Which nodes stay in float32, and what came of it.

    ``float32_layers``: name of a node -> reason. ``emulated_db``: PSNR of the emulated program against
    float32 with these islands; ``unguarded_db``: without any.
    """

    float32_layers: Mapping[str, str]
    certificates: Sequence[Certificate]
    emulated_db: float
    unguarded_db: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, as the table's file holds them."""
        values = dataclasses.asdict(self)
        return {"wide": values.pop("float32_layers"), **values}

    def describe(self, counts: Mapping[str, int]) -> list[str]:
        """Return notes on the decisions; ``counts``: float16 and float32 nodes and casts in the file."""
        notes = [
            f"fp16: {counts['float16']} nodes in float16, {counts['float32']} in float32, "
            f"{counts['casts']} casts; with every value rounded to float16 {self.emulated_db:.1f} dB against "
            f"float32 ({self.unguarded_db:.1f} dB without islands); emulated, "
            "hardware may accumulate in higher precision"
        ]
        held: dict[str, int] = {}
        for reason in self.float32_layers.values():
            held[reason] = held.get(reason, 0) + 1
        return notes + [f"float32: {count} nodes: {reason}" for reason, count in held.items()]


def decide(
    program: ExportedProgram,
    arrays: Sequence[Feed],
    transforms: Sequence[Transform] = (),
    *,
    pictures: bool = True,
    told: Told = lambda message: None,
) -> HalfPlan:
    """Choose the islands of a program on a few inputs.

    ``pictures`` as :func:`.runner.closeness_db`; ``told`` is called with a message before each trial.
    """
    expected = [Runner(program).outputs(array) for array in arrays]
    emulated = functools.partial(_emulated, program, pictures=pictures)
    peaks = _peaks(program, arrays)
    certificates = [certify(transform, peaks) for transform in transforms]
    float32_layers = {
        node: f"transform {transform.site}: {certificate.decision}"
        for transform, certificate in zip(transforms, certificates, strict=True)
        if certificate.overflows
        for node in transform.nodes
    }
    for name, peak in peaks.items():
        if peak * HEADROOM > HALF_MAX:
            float32_layers.setdefault(
                name, f"its peak of {peak:.3g} is too close to the float16 maximum {HALF_MAX:g}"
            )
    float32_layers |= {
        node: reason for node, reason in _constants(program).items() if node not in float32_layers
    }
    unguarded = emulated(arrays, expected, ())
    guarded = emulated(arrays, expected, float32_layers)
    if guarded < WANTED_DB:
        guarded = _widen(program, arrays, expected, float32_layers, emulated, told)
    return HalfPlan(float32_layers, certificates, guarded, unguarded)


def certify(transform: Transform, peaks: Mapping[str, float]) -> Certificate:
    """Decide whether a transform may be computed in float16; ``peaks``: node -> largest magnitude seen."""
    entering = max((peaks.get(name, 0.0) for name in transform.inputs), default=0.0)
    peak = max((peaks.get(name, 0.0) for name in transform.nodes), default=0.0)
    bound = transform.gain * entering
    if bound <= HALF_MAX:
        decision = "float16: inputs up to the largest one seen cannot overflow"
    elif peak * HEADROOM <= HALF_MAX:
        decision = (
            f"float16: the peak on photos is {HALF_MAX / peak:.0f} times below overflow, unlike the bound"
        )
    else:
        decision = "float32: would overflow"
    return Certificate(transform.site, transform.module, transform.gain, entering, bound, peak, decision)


def _peaks(program: ExportedProgram, arrays: Sequence[Feed]) -> dict[str, float]:
    """Return the largest magnitude of every value in float32."""
    peaks: dict[str, float] = {}

    def watch(node: fx.Node, value: Tensor) -> Tensor:
        if value.is_floating_point() and value.numel():
            peaks[node.name] = max(peaks.get(node.name, 0.0), float(value.abs().max()))
        return value

    runner = Runner(program, watch)
    for array in arrays:
        runner.outputs(array)
    return peaks


def _constants(program: ExportedProgram) -> dict[str, str]:
    """Return the nodes that hold a number which float16 rounds badly, with the reason.

    A stored tensor is judged by its largest entry: what is small beside it does not matter in a sum.
    """
    lossy = {}
    for node in program.graph.nodes:
        if node.op != "call_function" or not isinstance(node.meta.get("val"), Tensor):
            continue
        if not node.meta["val"].is_floating_point():
            continue
        for value in node.args:
            if isinstance(value, float) and value and _loss(torch.tensor(value)) > 2.0**-11:
                lossy[node.name] = f"the constant {value:g} is not representable in float16"
    for name, tensor in Runner(program).stored.items():
        if tensor.is_floating_point() and tensor.numel() and _loss(tensor) > 2.0**-11:
            for user in (n for n in program.graph.nodes if n.name == name):
                lossy |= {reader.name: f"{name} loses too much precision in float16" for reader in user.users}
    return lossy


def _loss(value: Tensor) -> float:
    peak = float(value.abs().max())
    return 0.0 if peak == 0 else float((value.half().float() - value).abs().max()) / peak


def _emulated(
    program: ExportedProgram,
    arrays: Sequence[Feed],
    expected: Sequence[Sequence[Array]],
    float32_layers: Collection[str],
    *,
    pictures: bool,
) -> float:
    runner = HalfRunner(program, float32_layers)
    return min(
        closeness_db(runner.outputs(array), right, pictures=pictures)
        for array, right in zip(arrays, expected, strict=True)
    )


def _widen(
    program: ExportedProgram,
    arrays: Sequence[Feed],
    expected: Sequence[Sequence[Array]],
    float32_layers: dict[str, str],
    emulated: Callable[..., float],
    told: Told,
) -> float:
    """Keep the modules that lose most in float32 until the output is good enough; returns its PSNR then."""
    modules: dict[str, set[str]] = {}
    for node in program.graph.nodes:
        if node.op == "call_function" and node.name not in float32_layers:
            modules.setdefault(module_of(node), set()).add(node.name)
    everything = {name for names in modules.values() for name in names}
    kept = set(float32_layers)
    trials = Trials(
        alone=lambda nodes: emulated(arrays[:1], expected[:1], everything - set(nodes) | kept),
        without=lambda nodes: emulated(arrays, expected, kept | set(nodes)),
        wanted=WANTED_DB,
    )
    for module, lost in worst_parts(modules, trials, told).items():
        reason = f"module {module or 'root'} alone reduces the PSNR to {lost:.0f} dB in float16"
        float32_layers |= dict.fromkeys(modules[module], reason)
    return emulated(arrays, expected, float32_layers)
