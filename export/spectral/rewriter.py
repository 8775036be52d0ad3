"""Walks an exported graph and yields the same computation without complex values or transforms."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Set
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx import traceback as fx_traceback
from torch.utils import _pytree as pytree

from ...runtime.errors import FdikpEdgeError, LoweringError, LoweringFaultError, UnsupportedOperatorError
from .fuse import Fused
from .graph import MODULE, SITE, module_path, site_name, where
from .outputs import tensors_of
from .pairs import Interleaved, Pair, is_complex_value
from .passes.prune import Pruned
from .planner import Choice, Plan
from .rules import COMPLEX_RULES, REAL_RULES, Context, Pieces, find
from .selfcheck import check_result
from .sites import is_transform
from .strategies import STRATEGIES, Window
from .twiddles import ConstantBank

SHORT_TIME = ("aten.stft.default", "aten.stft.center", "aten.istft.default")

REDUCTIONS = ("sum", "nansum", "mean", "prod", "cumsum", "cumprod")

COMPLEX_INPUT = "complex input"
"""Stands for an input that is complex in the network and real, with a last axis of 2, in the program."""


class Rewriter(fx.Interpreter):
    """Runs a graph with rules in place of complex operators and strategies in place of transforms.

    Running it on tensors computes the lowered network; tracing the run (``torch.export``) yields the lowered
    program, with each new node carrying the original's module path.
    """

    def __init__(
        self,
        graph_module: fx.GraphModule,
        plan: Plan,
        bank: ConstantBank,
        replaced: Mapping[fx.Node, Tensor | Pair],
        live: Set[fx.Node],
        stored: Set[fx.Node] = frozenset(),
    ) -> None:
        """Hold what a run reads.

        ``replaced``: nodes with a value already, ``live``: those to compute, ``stored``: inputs of the graph
        that are tensors of the network.
        """
        super().__init__(graph_module, garbage_collect_values=True)
        self.extra_traceback = False  # our errors name the place themselves
        self._plan = plan
        self._bank = bank
        self._replaced = replaced
        self._live = live
        self._constants = {*replaced, *stored}
        self.record: dict[str, Any] | None = None  # a dictionary: keep each value by its node's name

    def run_node(self, n: fx.Node) -> Any:
        """A constant folded before, or what the node computes."""
        if n in self._replaced:
            return self._replaced[n]
        if n.op != "call_function":
            return super().run_node(n)
        if n not in self._live:
            return None  # only folded constants needed it
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        with _annotated(self._provenance(n)):
            result = self._checked_call(n, args, kwargs)
        if self.record is not None:
            self.record[n.name] = result
        return result

    def _checked_call(self, node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        try:
            result = self._call(node, args, kwargs)
        except FdikpEdgeError:
            raise
        except Exception as error:
            first = (str(error).strip().splitlines() or [""])[0]
            raise LoweringFaultError(
                f"the lowering of {node.target} in {where(node)} failed: {first} ({type(error).__name__}). "
                "Please report it with the operator's arguments."
            ) from error
        if not isinstance(result, Pieces):
            check_result(node, result)
        return result

    def _provenance(self, node: fx.Node) -> dict[str, str]:
        """The module a node came from, and its site if it is a transform, be it one that no plan knows."""
        origin = {MODULE: module_path(node)}
        short_time = str(node.target) in SHORT_TIME
        if short_time or is_transform(str(node.target)) or isinstance(node.target, Pruned):
            origin[SITE] = site_name(node)
        elif isinstance(node.target, Fused) and node.target.site is not None:
            origin[SITE] = node.target.site.name
        return origin

    def _call(self, node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        operator = str(node.target)
        if operator == "aten.select.int" and isinstance(args[0], Interleaved):
            value, dim, index = args[0], args[1], args[2]
            if dim % (value.pair.re.dim() + 1) == value.pair.re.dim():
                return value.pair.im if index % 2 else value.pair.re
        if operator != "aten.view_as_complex.default":
            args, kwargs = pytree.tree_map_only(
                Interleaved, Interleaved.materialize, (args, kwargs), is_leaf=_is_lazy
            )
        if is_transform(operator) or isinstance(node.target, Pruned):
            choice = self._plan[site_name(node)]
            self._check_layout(choice, fused=False)
            return STRATEGIES[choice.strategy].apply(choice.site, _as_float(args[0]), self._bank)
        if not _leaves_complex(node, kwargs):
            args = pytree.tree_map_only(Pair, lambda z: z.re, args, is_leaf=lambda v: isinstance(v, Pair))
        if self._is_complex(node, args, kwargs):
            rule = find(COMPLEX_RULES, node.target)
            if rule is not None:
                return rule(Context(node, self._bank, self._constants), *args, **kwargs)
            if getattr(node.target, "__name__", "") == "getitem":
                return args[0][args[1]]
            raise UnsupportedOperatorError(
                f"{operator} on complex values in {where(node)} has no lowering rule. Write it with real and "
                f"imaginary parts, or add a rule: a function in fdikp_edge.export.spectral.rules registered "
                f"with @complex_rule({operator.removeprefix('aten.')!r})."
            )
        if isinstance(node.target, Fused):
            if node.target.site is not None:
                self._check_layout(self._plan[node.target.site.name], fused=True)
            return node.target.apply(self._bank, *args)
        rule = find(REAL_RULES, node.target)
        if rule is not None:
            return rule(Context(node, self._bank, self._constants), *args, **kwargs)
        target: Any = node.target
        return target(*args, **kwargs)

    @staticmethod
    def _check_layout(choice: Choice, *, fused: bool) -> None:
        """A block was rewritten before the plan was made: what the plan says must be what was done."""
        if fused != (choice.strategy == Window.name):
            done = "is part of a fused block" if fused else "is not part of a fused block"
            raise LoweringError(
                f"the plan computes {choice.site.name} as {choice.strategy!r}, but it {done}: a fault "
                "of the lowering; report it with the network"
            )

    @staticmethod
    def _is_complex(node: fx.Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        leaves = pytree.tree_leaves((args, kwargs), is_leaf=lambda v: isinstance(v, Pair))
        if any(is_complex_value(leaf) for leaf in leaves):
            return True
        produced = pytree.tree_leaves(node.meta.get("val"))
        return any(isinstance(value, Tensor) and value.dtype.is_complex for value in produced)


class LoweredModule(nn.Module):
    """The lowered network: original parameters under their own names, constants in ``spectral``."""

    def __init__(self, tensors: Mapping[str, Tensor], graph_module: fx.GraphModule, out_spec: Any) -> None:
        """Take over the real tensors of the network; :meth:`prepare` must follow."""
        super().__init__()
        self.spectral = ConstantBank()
        self._graph_module = [graph_module]  # in a list: the original graph is to be no submodule of this
        self._out_spec = out_spec
        self._placeholders: list[str | None] = []
        self.record: dict[str, Any] | None = None  # a dictionary: keep each node's value of the next run
        for name, tensor in tensors.items():
            plant(self, name, tensor)

    def prepare(
        self, plan: Plan, placeholders: list[str | None], folded: Mapping[fx.Node, str], live: Set[fx.Node]
    ) -> None:
        """Set what :meth:`forward` runs; ``placeholders`` names each input's tensor, ``None`` a user's."""
        self._placeholders = placeholders
        self._folded = dict(folded)
        self._plan = plan
        self._live = live

    @property
    def graph_module(self) -> fx.GraphModule:
        """The network's graph, as the passes left it."""
        return self._graph_module[0]

    def constant(self, name: str) -> Tensor | Pair:
        """A tensor by its key in the bank; a complex one as the pair of its stored parts."""
        try:
            return self.spectral.stored(name)
        except KeyError:
            return Pair(self.spectral.stored(f"{name}_re"), self.spectral.stored(f"{name}_im"))

    def forward(self, *inputs: Tensor) -> Any:
        """Compute the network; a complex output leaves as a real tensor with a last axis of 2.

        The result has the network's own structure, or, where that holds more than tensors, is a tuple of the
        tensors in it.
        """
        remaining = iter(inputs)
        values: list[Any] = []
        for name in self._placeholders:
            if name is None:
                values.append(next(remaining))
            elif name == COMPLEX_INPUT:
                whole = next(remaining)
                values.append(Pair(whole.select(-1, 0), whole.select(-1, 1)))
            else:
                values.append(self._tensor(name))
        replaced = {node: self.constant(name) for node, name in self._folded.items()}
        inputs_of_graph = [n for n in self.graph_module.graph.nodes if n.op == "placeholder"]
        stored = {
            node
            for node, name in zip(inputs_of_graph, self._placeholders, strict=True)
            if name not in (None, COMPLEX_INPUT)
        }
        rewriter = Rewriter(self.graph_module, self._plan, self.spectral, replaced, self._live, stored)
        rewriter.record = self.record
        outputs = rewriter.run(*values)
        flat = []
        for output in outputs:
            value = Interleaved(output) if isinstance(output, Pair) else output
            flat.append(value.materialize() if isinstance(value, Interleaved) else value)
        return tensors_of(pytree.tree_unflatten(flat, self._out_spec))

    def _tensor(self, name: str) -> Tensor | Pair:
        if name.startswith("spectral:"):
            return self.constant(name.removeprefix("spectral:"))
        owner, _, leaf = name.rpartition(".")
        tensor = getattr(self.get_submodule(owner), leaf)
        assert isinstance(tensor, Tensor)
        return tensor


@contextlib.contextmanager
def _annotated(values: Mapping[str, str]) -> Iterator[None]:
    """Have tracing write ``values`` into ``meta["custom"]`` of every node made in the block.

    ``torch.fx.traceback.annotate`` does this, from PyTorch 2.10 on.
    """
    current = fx_traceback.current_meta
    before = current.get("custom")
    current["custom"] = {**(before or {}), **values}
    try:
        yield
    finally:
        if before is None:
            del current["custom"]
        else:
            current["custom"] = before


def _leaves_complex(node: fx.Node, kwargs: Mapping[str, Any]) -> bool:
    """False for a sum or product with a real ``dtype``: torch drops imaginary parts before it adds up."""
    dtype = kwargs.get("dtype")
    name = str(node.target).removeprefix("aten.").split(".")[0]
    return name not in REDUCTIONS or dtype is None or dtype.is_complex


def _is_lazy(value: Any) -> bool:
    return isinstance(value, Interleaved)


def _as_float(value: Pair | Tensor) -> Pair | Tensor:
    """Torch promotes an integer signal to the default dtype before it transforms it."""
    if isinstance(value, Tensor) and not value.is_floating_point():
        return value.to(torch.get_default_dtype())
    return value


def plant(root: nn.Module, name: str, tensor: Tensor) -> None:
    """Register a tensor under a dotted name, making the modules on the way."""
    owner = root
    *path, leaf = name.split(".")
    for part in path:
        if not hasattr(owner, part):
            owner.add_module(part, nn.Module())
        owner = owner.get_submodule(part)
    if isinstance(tensor, nn.Parameter):
        owner.register_parameter(leaf, nn.Parameter(tensor.detach(), requires_grad=False))
    else:
        owner.register_buffer(leaf, tensor.detach())


def store(bank: ConstantBank, key: str, value: Tensor) -> None:
    """Put a real tensor, or both parts of a complex one, into the bank."""
    with torch.no_grad():
        if value.dtype.is_complex:
            bank.add(f"{key}_re", value.resolve_conj().real)
            bank.add(f"{key}_im", value.resolve_conj().imag)
        else:
            bank.add(key, value.resolve_neg())
