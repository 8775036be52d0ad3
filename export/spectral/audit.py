"""The proof that a lowered program is what it claims, and the figures of every transform in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from ...runtime.errors import DynamicShapeError, LoweringError
from .planner import Plan
from .sites import Site
from .strategies import STRATEGIES
from .strategies.custom import NAMESPACE

FP16_MAX = 65504.0
UNIT_ROUNDOFF = {torch.float64: 2.0**-53, torch.float32: 2.0**-24, torch.float16: 2.0**-11}


@dataclass(frozen=True)
class SiteAudit:
    """One transform: where it is, how it is computed, what it costs, and what its arithmetic can lose.

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
class Audit:
    """All sites, and counts over the whole program; :func:`audit_program` makes it, or raises.

    ``notes``: inputs and outputs that are complex in the network, and each value that the network read in
    Python of its own constants, with the line; the program holds it as it was then.
    """

    rows: tuple[SiteAudit, ...]
    operators: dict[str, int]
    constants_bytes: int
    native_sites: int
    self_check: float | None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Ready for ``json.dump``."""
        return {
            "sites": [row.to_json() for row in self.rows],
            "operators": self.operators,
            "constants_bytes": self.constants_bytes,
            "native_sites": self.native_sites,
            "self_check_max_relative_error": self.self_check,
            "notes": list(self.notes),
        }

    def summary(self) -> str:
        """One line for a log."""
        macs = sum(row.multiply_adds for row in self.rows) / 1e9
        checked = (
            "" if self.self_check is None else f", relative error {self.self_check:.1e} against the original"
        )
        return (
            f"{len(self.rows)} transform sites, {macs:.3f} G multiply-adds, "
            f"{sum(self.operators.values())} operators, "
            f"{self.constants_bytes / 1e6:.2f} MB of constants{checked}"
        )


def audit_site(site: Site, strategy: str) -> SiteAudit:
    """Figures of one site under its strategy."""
    chosen = STRATEGIES[strategy]
    peak = max(1.0, *site.gains)  # the input itself, or an intermediate larger than the result
    return SiteAudit(
        site=site,
        strategy=strategy,
        multiply_adds=chosen.cost(site).macs,
        error_bound=chosen.error_bound(site, UNIT_ROUNDOFF[torch.float32]),
        gain=site.gain,
        fp16_input_limit=FP16_MAX / peak,
    )


def audit_program(
    program: ExportedProgram, plan: Plan, self_check: float | None, notes: tuple[str, ...] = ()
) -> Audit:
    """Prove that no complex value, transform, dynamic shape or control flow is left, and collect the figures.

    Sites that the user asked to keep ``native`` are exempt from the first two.

    Raises:
        LoweringError: something complex or a transform is left (a fault of the lowering; names the node).
        DynamicShapeError: a symbolic shape or a branch is left.
    """
    native = sum(choice.strategy == "native" for choice in plan.choices)
    operators: dict[str, int] = {}
    for module in program.graph_module.modules():
        if not isinstance(module, torch.fx.GraphModule):
            continue
        for node in module.graph.nodes:
            _check_value(node, allow_complex=native > 0)
            if node.op != "call_function":
                continue
            name = str(node.target)
            operators[name] = operators.get(name, 0) + 1
            if name.split(".")[0] == "higher_order" or type(node.target).__name__ == "HigherOrderOperator":
                raise DynamicShapeError(f"control flow {name} is left in the program at {node.name}")
            if ("fft" in name or "stft" in name) and not native and not name.startswith(f"{NAMESPACE}."):
                raise LoweringError(f"transform {name} is left in the program at {node.name}")
    for name, tensor in program.state_dict.items():
        if tensor.dtype.is_complex:
            raise LoweringError(f"the stored tensor {name!r} of the lowered program is still complex")
    constants = sum(
        t.numel() * t.element_size() for name, t in program.state_dict.items() if name.startswith("spectral.")
    )
    rows = tuple(audit_site(choice.site, choice.strategy) for choice in plan.choices)
    return Audit(rows, dict(sorted(operators.items())), constants, native, self_check, notes)


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
