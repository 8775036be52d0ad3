"""Where rules are registered and what they are given."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import fx

from ..pairs import REAL_OF
from ..twiddles import ConstantBank


@dataclass(frozen=True)
class Context:
    """The node being rewritten; rules read its operator and what it produced before the lowering."""

    node: fx.Node
    bank: ConstantBank
    constants: Set[fx.Node] = frozenset()

    def is_constant(self, node: fx.Node) -> bool:
        """Whether a node's value is stored in the program: no input reaches it."""
        return node in self.constants

    @property
    def operator(self) -> Any:
        """The original ATen overload."""
        return self.node.target

    @property
    def produced(self) -> Any:
        """The original result as a fake tensor (shape and dtype only)."""
        return self.node.meta["val"]

    @property
    def real_dtype(self) -> torch.dtype:
        """Dtype of the parts of the original result."""
        dtype: torch.dtype = self.produced.dtype
        return REAL_OF.get(dtype, dtype)


Rule: TypeAlias = Callable[..., Any]

COMPLEX_RULES: dict[str, Rule] = {}
"""Used where an argument or the result is complex."""

REAL_RULES: dict[str, Rule] = {}
"""Used where everything is real, but the operator is one that some converter lacks."""


def complex_rule(*operators: str) -> Callable[[Rule], Rule]:
    """Register a rule for ATen operators (``mul.Tensor``, or ``mul`` for all overloads) on complex values."""
    return _into(COMPLEX_RULES, operators)


def real_rule(*operators: str) -> Callable[[Rule], Rule]:
    """Register a rule for ATen operators on real values."""
    return _into(REAL_RULES, operators)


def _into(table: dict[str, Rule], operators: tuple[str, ...]) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        for operator in operators:
            if operator in table:
                raise ValueError(f"two rules for {operator}")
            table[operator] = rule
        return rule

    return register


def find(table: dict[str, Rule], operator: Any) -> Rule | None:
    """The rule of an overload, or of all overloads of its operator."""
    overload = str(operator).removeprefix("aten.")
    return table.get(overload) or table.get(overload.split(".")[0])
