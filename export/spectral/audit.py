"""The proof that a lowered program is what it claims, and the figures of every transform in it."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from ...runtime.errors import DynamicShapeError, LoweringError
from .fuse.base import FusionRecord
from .graph import MODULE, SITE, shape_of
from .planner import Plan
from .sites import Site
from .strategies import STRATEGIES, Native
from .strategies.custom import NAMESPACE

FP16_MAX = 65504.0
UNIT_ROUNDOFF = {torch.float64: 2.0**-53, torch.float32: 2.0**-24, torch.float16: 2.0**-11}


@dataclass(frozen=True)
class SiteAudit:
    """One transform: where it is, how it is computed, what it costs, and what its arithmetic can lose.

    ``multiply_adds``: counted in the program's products for this site; products that nothing reads are gone.
    ``error_bound``: largest possible ``max|error| / (gain max|input|)`` in float32 (Higham, section 3.1).
    ``gain``: largest possible ``max|output| / max|input|``. ``fp16_input_limit``: inputs up to this magnitude
    can never overflow float16 in this transform, whatever they hold.
    """

    site: Site
    strategy: str
    multiply_adds: int
    error_bound: float
    gain: float
    fp16_input_limit: float

    def to_json(self) -> dict[str, Any]:
        """Ready for ``json.dump``."""
        return {
            "site": self.site.name,
            "module": self.site.module_path,
            "operator": self.site.operator,
            "input_shape": list(self.site.input_shape),
            "output_shape": list(self.site.output_shape),
            "lengths": list(self.site.lengths),
            "strategy": self.strategy,
            "multiply_adds": self.multiply_adds,
            "error_bound": self.error_bound,
            "gain": self.gain,
            "fp16_input_limit": self.fp16_input_limit,
        }


@dataclass(frozen=True)
class ShortTimeAudit:
    """One short-time transform: a convolution with the whole matrix, the one way there is for it.

    ``multiply_adds`` are those of the program's convolutions and products for it, ``constants_bytes`` the
    size of the matrices and envelopes that they read.
    """

    name: str
    module_path: str
    multiply_adds: int
    constants_bytes: int

    def to_json(self) -> dict[str, Any]:
        """Ready for ``json.dump``."""
        return {
            "name": self.name,
            "module": self.module_path,
            "multiply_adds": self.multiply_adds,
            "constants_bytes": self.constants_bytes,
        }

    def __str__(self) -> str:
        """One line for a log."""
        place = f"module {self.module_path!r}" if self.module_path else "the root module"
        return (
            f"short-time transform {self.name} in {place}: {self.multiply_adds / 1e9:.3f} G multiply-adds, "
            f"{self.constants_bytes / 1e6:.2f} MB of constants, by its whole matrix"
        )


@dataclass(frozen=True)
class Audit:
    """All sites, and counts over the whole program; :func:`audit_program` makes it, or raises.

    ``native_sites`` counts the sites with a transform of ``torch.fft`` in the program. ``fusions`` says of
    every pattern of :mod:`.fuse` that was looked for where it was replaced, and where not and why.
    ``notes``: inputs and outputs that are complex in the network, and each value that the network read in
    Python of its own constants, with the line; the program holds it as it was then. ``short_time``: the
    short-time transforms, which no plan has a choice for.
    """

    rows: tuple[SiteAudit, ...]
    operators: dict[str, int]
    constants_bytes: int
    native_sites: int
    self_check: float | None
    fusions: tuple[FusionRecord, ...] = ()
    notes: tuple[str, ...] = ()
    short_time: tuple[ShortTimeAudit, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Ready for ``json.dump``."""
        return {
            "sites": [row.to_json() for row in self.rows],
            "operators": self.operators,
            "constants_bytes": self.constants_bytes,
            "native_sites": self.native_sites,
            "self_check_max_relative_error": self.self_check,
            "fusions": _grouped(self.fusions),
            "notes": list(self.notes),
            "short_time": [row.to_json() for row in self.short_time],
        }

    def summary(self) -> str:
        """One line for a log."""
        work = [row.multiply_adds for row in self.rows] + [row.multiply_adds for row in self.short_time]
        macs = sum(work) / 1e9
        framed = f"{len(self.short_time)} short-time transforms, " if self.short_time else ""
        checked = (
            "" if self.self_check is None else f", relative error {self.self_check:.1e} against the original"
        )
        return (
            f"{len(self.rows)} transform sites, {framed}{macs:.3f} G multiply-adds, "
            f"{sum(self.operators.values())} operators, "
            f"{self.constants_bytes / 1e6:.2f} MB of constants{checked}"
        )


def audit_site(site: Site, strategy: str, multiply_adds: int) -> SiteAudit:
    """Figures of one site under its strategy, with the multiply-adds counted in the program."""
    chosen = STRATEGIES[strategy]
    # The input itself, or an intermediate larger than the result.
    peak = chosen.headroom * max(1.0, *site.gains)
    return SiteAudit(
        site=site,
        strategy=strategy,
        multiply_adds=multiply_adds,
        error_bound=chosen.error_bound(site, UNIT_ROUNDOFF[torch.float32]),
        gain=site.gain,
        fp16_input_limit=FP16_MAX / peak,
    )


def audit_program(
    program: ExportedProgram,
    plan: Plan,
    self_check: float | None,
    fusions: Sequence[FusionRecord] = (),
    notes: tuple[str, ...] = (),
) -> Audit:
    """Prove that no complex value, transform, dynamic shape or control flow is left, and collect the figures.

    Sites that the user asked to keep ``native`` are exempt from the first two.

    Raises:
        LoweringError: something complex or a transform is left (a fault of the lowering; names the node).
        DynamicShapeError: a symbolic shape or a branch is left.
    """
    exempt = {choice.site.name for choice in plan.choices if choice.strategy == Native.name}
    native: set[str] = set()
    counted: dict[str, int] = {}
    operators: dict[str, int] = {}
    for module in program.graph_module.modules():
        if not isinstance(module, torch.fx.GraphModule):
            continue
        for node in module.graph.nodes:
            _check_value(node, allow_complex=bool(exempt))
            if node.op != "call_function":
                continue
            name = str(node.target)
            operators[name] = operators.get(name, 0) + 1
            if name.split(".")[0] == "higher_order" or type(node.target).__name__ == "HigherOrderOperator":
                raise DynamicShapeError(f"control flow {name} is left in the program at {node.name}")
            site = str(node.meta.get("custom", {}).get(SITE, ""))
            counted[site] = counted.get(site, 0) + _multiply_adds(node)
            if ("fft" in name or "stft" in name) and not name.startswith(f"{NAMESPACE}."):
                if site not in exempt:
                    raise LoweringError(f"transform {name} is left in the program at {node.name}")
                native.add(site)
    for name, tensor in program.state_dict.items():
        if tensor.dtype.is_complex:
            raise LoweringError(f"the stored tensor {name!r} of the lowered program is still complex")
    constants = sum(
        t.numel() * t.element_size() for name, t in program.state_dict.items() if name.startswith("spectral.")
    )
    rows = tuple(
        audit_site(choice.site, choice.strategy, counted.get(choice.site.name, 0)) for choice in plan.choices
    )
    counts = dict(sorted(operators.items()))
    framed = _short_time(program, {choice.site.name for choice in plan.choices})
    notes = (*notes, *map(str, framed))
    return Audit(rows, counts, constants, len(native), self_check, tuple(fusions), notes, framed)


def _short_time(program: ExportedProgram, planned: Collection[str]) -> tuple[ShortTimeAudit, ...]:
    """The sites that no plan knows: their work, and the stored tensors that they read."""
    stored = {**program.state_dict, **program.constants}
    held = (
        program.graph_signature.inputs_to_buffers | program.graph_signature.inputs_to_lifted_tensor_constants
    )
    work: dict[str, int] = {}
    modules: dict[str, str] = {}
    read: dict[str, set[str]] = {}
    for node in program.graph.nodes:
        custom = node.meta.get("custom", {})
        site = str(custom.get(SITE, ""))
        if not site or site in planned:
            continue
        work[site] = work.get(site, 0) + _multiply_adds(node) + _convolved(node)
        modules[site] = str(custom.get(MODULE, ""))
        keys = {held[source.name] for source in node.all_input_nodes if source.name in held}
        read.setdefault(site, set()).update(keys)
    return tuple(
        ShortTimeAudit(
            site,
            modules[site],
            work[site],
            sum(stored[key].numel() * stored[key].element_size() for key in read[site]),
        )
        for site in work
    )


def _convolved(node: fx.Node) -> int:
    """Multiply-adds of a convolution of one axis, or of its transpose; 0 for other operators."""
    name = str(node.target)
    if node.op != "call_function" or name not in ("aten.conv1d.default", "aten.conv_transpose1d.default"):
        return 0
    signal, kernels = node.args[:2]
    assert isinstance(signal, fx.Node) and isinstance(kernels, fx.Node)
    each = shape_of(node) if name == "aten.conv1d.default" else shape_of(signal)
    return math.prod(each) * math.prod(shape_of(kernels)[1:])


PRODUCTS = {f"aten.{name}" for name in ("matmul.default", "mm.default", "bmm.default", "linear.default")}


def _multiply_adds(node: fx.Node) -> int:
    """Multiply-adds of one product [..., n, k] by [..., k, m]; 0 for other operators."""
    if str(node.target) not in PRODUCTS:
        return 0
    left = node.args[0]
    assert isinstance(left, fx.Node)
    return math.prod(shape_of(node)) * shape_of(left)[-1]


def _grouped(records: Sequence[FusionRecord]) -> list[dict[str, Any]]:
    """One entry per pattern and reason (``None``: replaced), with the nodes it holds for."""
    groups: dict[tuple[str, str | None], list[str]] = {}
    for record in records:
        groups.setdefault((record.pattern, record.declined), []).append(record.node)
    return [{"pattern": p, "declined": why, "nodes": nodes} for (p, why), nodes in groups.items()]


def _check_value(node: torch.fx.Node, *, allow_complex: bool) -> None:
    for value in pytree.tree_leaves(node.meta.get("val")):
        if not isinstance(value, Tensor):
            continue
        if value.dtype.is_complex and not allow_complex:
            raise LoweringError(f"{node.name} ({node.target}) is still complex after the lowering")
        if any(not isinstance(size, int) for size in value.shape):
            raise DynamicShapeError(
                f"{node.name} ({node.target}) has the symbolic shape {tuple(value.shape)}"
            )
