"""What a fused node is, and how patterns look for the nodes they replace."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx
from torch.utils import _pytree as pytree

from ..graph import arguments
from ..sites import Site
from ..twiddles import ConstantBank

RESHAPES = ("aten.view.default", "aten.reshape.default", "aten._unsafe_view.default")


@dataclass(frozen=True)
class Declined:
    """Why a pattern was left as the network wrote it, in words."""

    reason: str


@dataclass(frozen=True)
class FusionRecord:
    """What became of a pattern at one node: replaced (``declined`` is ``None``), or left alone and why."""

    pattern: str
    node: str
    module_path: str
    declined: str | None


class Fused(ABC):
    """A node's computation as a Python object; its constants go to the program's bank.

    ``site`` is the transform inside, if there is one: it is listed in the plan like any other.
    """

    site: Site | None = None

    @abstractmethod
    def apply(self, bank: ConstantBank, *inputs: Tensor) -> Tensor:
        """Trace the computation."""

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Compute it with a bank of its own."""
        return self.apply(ConstantBank(), *inputs)


def emit(
    graph: fx.Graph, target: Callable[..., Any], inputs: tuple[Any, ...], like: fx.Node, **options: Any
) -> fx.Node:
    """Insert a call at the graph's insertion point, with the provenance of ``like`` and its own shape."""
    node = graph.call_function(target, inputs, options)
    node.meta = dict(like.meta)
    values = pytree.tree_map_only(fx.Node, lambda n: n.meta["val"], inputs)
    with like.meta["val"].fake_mode:
        node.meta["val"] = target(*values, **options)
    return node


def only_reader(value: Any, *operators: str) -> fx.Node | None:
    """``value`` if it is one of the operators and nothing else reads it."""
    if isinstance(value, fx.Node) and str(value.target) in operators and len(value.users) == 1:
        return value
    return None


def before_reshapes(node: fx.Node | None) -> Any:
    """What one or more reshapes, each read once, started from."""
    source: Any = node
    while (reshape := only_reader(source, *RESHAPES)) is not None:
        source = arguments(reshape)[0]
    return source


def depends(node: fx.Node, inputs: Collection[str]) -> bool:
    """Whether a value is computed from one of the program's own inputs."""
    waiting, seen = [node], set()
    while waiting:
        value = waiting.pop()
        if value in seen:
            continue
        seen.add(value)
        if value.op == "placeholder" and value.name in inputs:
            return True
        waiting.extend(value.all_input_nodes)
    return False
