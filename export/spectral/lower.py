"""The lowering from end to end: trace, fold, plan, rewrite, audit."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx import traceback as fx_traceback
from torch.utils import _pytree as pytree

from ...runtime.errors import BadInputError, DynamicShapeError, FdikpEdgeError, LoweringError
from .audit import Audit, audit_program
from .fuse import Fused, Fusions, fuse
from .graph import MODULE, arguments, meta_value, module_path, shape_of, site_name, where
from .passes.absorb_projection import absorb_preparation
from .passes.drop_zeros import drop_zeros
from .passes.fold_constants import constant_values
from .passes.limit_rank import reduce_ranks
from .planner import Plan, choose, make_plan, profile, read_override
from .rewriter import LoweredModule, store
from .sites import Site, describe, is_transform


@dataclass(frozen=True)
class LoweredProgram:
    """A real-valued program with its plan and the proof of it.

    ``program`` takes and returns what the original module does, computes in the same dtype, and holds no
    complex value, no ``torch.fft`` operator (unless a site was asked to stay ``native``), no symbolic shape
    and no branch.
    """

    program: ExportedProgram
    plan: Plan
    audit: Audit

    @cached_property
    def sha256(self) -> str:
        """Hash over the graph and every stored tensor; equal for equal programs on any machine."""
        digest = hashlib.sha256()
        for node in self.program.graph.nodes:
            value = node.meta.get("val")
            shape = (tuple(value.shape), str(value.dtype)) if isinstance(value, Tensor) else None
            digest.update(f"{node.op} {node.name} {node.target} {node.args} {node.kwargs} {shape}\n".encode())
        for name, tensor in sorted({**self.program.state_dict, **self.program.constants}.items()):
            if isinstance(tensor, Tensor):
                digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
                digest.update(tensor.detach().contiguous().numpy().tobytes())
        return digest.hexdigest()

    @property
    def key(self) -> tuple[str, str]:
        """The program's hash and the profile it was lowered for: what a calibration table knows it by."""
        return self.sha256, self.plan.target


def lower(
    module: nn.Module,
    example_inputs: tuple[Tensor, ...],
    *,
    target: str | None = None,
    plan: Plan | Mapping[str, str] | None = None,
) -> LoweredProgram:
    """Rewrite a network that calls ``torch.fft`` into one of real matrix products.

    Args:
        module: any ``nn.Module`` with static shapes, in ``eval`` mode.
        example_inputs: positional real tensors; their shapes and dtypes become the program's.
        target: name of the cost profile that the planner uses (:attr:`..target.Target.profile`).
        plan: a plan made before, or patterns of sites to strategies; see :func:`.planner.make_plan`.

    Raises:
        BadInputError: inputs that are not real tensors.
        UnknownNameError: a target without a profile, a strategy that does not exist, or a pattern of ``plan``
            that matches no site.
        DynamicShapeError: the network's shapes or branches depend on data.
        UnsupportedOperatorError: a complex operator without a rule; names it and its module.
        LoweringError: ``plan`` asks for a strategy at a site that it cannot compute, or anything else that
            cannot be lowered, with the place.
    """
    _check_inputs(example_inputs)
    rates, wanted = profile(target), read_override(plan)
    exported = _export(module, example_inputs)
    graph_module = exported.graph_module
    _check_static(graph_module)
    absorb_preparation(graph_module.graph)
    drop_zeros(graph_module.graph)
    fusions = fuse(
        graph_module.graph,
        choose=functools.partial(choose, rates=rates, wanted=wanted),
        channels_last=rates.channels_last,
        runtime_kernels=rates.runtime_kernels,
        inputs=exported.graph_signature.user_inputs,
    )
    lowered = _assemble(exported)
    known, placeholders = _tensors_of(exported, lowered)
    folded = constant_values(graph_module.graph, known)
    folded_keys = {node: f"constant_{node.name}" for node in folded}
    for node, value in folded.items():
        store(lowered.spectral, folded_keys[node], value)
    live = _live_nodes(graph_module.graph, folded)
    made = make_plan(_sites(graph_module.graph, live, fusions), target, plan)
    lowered.prepare(made, placeholders, folded_keys, live)
    with torch.no_grad():
        lowered(*example_inputs)  # running it once fills the bank, which tracing only reads
        with fx_traceback.preserve_node_meta():
            program = torch.export.export(lowered, example_inputs, strict=False)
        program = _without_unused(program)
        _restore_modules(program)
        program = reduce_ranks(program)
        check = _relative_error(program.module()(*example_inputs), module(*example_inputs))
    return LoweredProgram(program, made, audit_program(program, made, check, fusions.records))


def _check_inputs(inputs: Any) -> None:
    if not isinstance(inputs, tuple) or not all(isinstance(value, Tensor) for value in inputs):
        raise BadInputError("example_inputs must be a tuple of tensors, one per argument of forward")
    for index, value in enumerate(inputs):
        if value.dtype.is_complex:
            raise LoweringError(
                f"example input {index} is complex, which no edge runtime can take; let the network take a "
                "real tensor [..., 2] and call torch.view_as_complex on it"
            )


def _export(module: nn.Module, inputs: tuple[Tensor, ...]) -> ExportedProgram:
    try:
        with torch.no_grad():
            exported = torch.export.export(module, inputs, strict=False)
            # With an empty table: functional form, and every operator, fft included, stays whole.
            functional: ExportedProgram = exported.run_decompositions({})
            return functional
    except FdikpEdgeError:
        raise
    except Exception as error:
        message = str(error).strip().splitlines()
        first = message[0] if message else type(error).__name__
        kind = type(error).__name__
        dynamic = any(
            word in kind + first
            for word in ("DataDependent", "GuardOn", "UserError", "data-dependent", "dynamic")
        )
        wrapped = DynamicShapeError if dynamic else LoweringError
        raise wrapped(f"torch.export cannot trace {type(module).__name__}: {first} ({kind})") from error


def _check_static(graph_module: fx.GraphModule) -> None:
    for node in graph_module.graph.nodes:
        if node.op == "get_attr" or (
            node.op == "call_function" and isinstance(node.target, torch._ops.HigherOrderOperator)
        ):
            raise DynamicShapeError(
                f"{node.target} in {where(node)} is control flow that depends on data; edge runtimes take a "
                "fixed graph: compute both branches, or export one module per branch"
            )
        for value in pytree.tree_leaves(node.meta.get("val")):
            if isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool):
                raise DynamicShapeError(f"{node.target} in {where(node)} makes a size that depends on data")
            if isinstance(value, Tensor) and any(not isinstance(size, int) for size in value.shape):
                raise DynamicShapeError(
                    f"{node.target} in {where(node)} has the symbolic shape {tuple(value.shape)}; "
                    "export with fixed sizes"
                )


def _assemble(exported: ExportedProgram) -> LoweredModule:
    mutated = [s for s in exported.graph_signature.output_specs if s.kind is not OutputKind.USER_OUTPUT]
    if mutated:
        raise LoweringError(
            f"the network changes its own state in forward ({mutated[0].target or mutated[0].kind.name}); "
            "call .eval() before lowering, or return the new state as an output"
        )
    real = {
        name: tensor
        for name, tensor in {**exported.state_dict, **exported.constants}.items()
        if isinstance(tensor, Tensor) and not tensor.dtype.is_complex
    }
    return LoweredModule(real, exported.graph_module, exported.call_spec.out_spec)


def _tensors_of(
    exported: ExportedProgram, lowered: LoweredModule
) -> tuple[dict[fx.Node, Any], list[str | None]]:
    """(values of the placeholders that store tensors, what each placeholder reads; ``None``: user input)."""
    known: dict[fx.Node, Any] = {}
    names: list[str | None] = []
    nodes = [node for node in exported.graph.nodes if node.op == "placeholder"]
    for node, spec in zip(nodes, exported.graph_signature.input_specs, strict=True):
        if spec.kind is InputKind.USER_INPUT:
            names.append(None)
            continue
        assert spec.target is not None
        tensor = exported.state_dict.get(spec.target, exported.constants.get(spec.target))
        if not isinstance(tensor, Tensor):
            raise LoweringError(f"the stored object {spec.target!r} is not a tensor and cannot be lowered")
        known[node] = tensor
        if tensor.dtype.is_complex:
            key = f"stored_{spec.target.replace('.', '_')}"
            store(lowered.spectral, key, tensor)
            names.append(f"spectral:{key}")
        else:
            names.append(spec.target)
    return known, names


def _live_nodes(graph: fx.Graph, folded: Mapping[fx.Node, Any]) -> set[fx.Node]:
    """Nodes that the outputs still need once the folded ones are constants."""
    output = next(node for node in reversed(graph.nodes) if node.op == "output")
    live: set[fx.Node] = set()
    queue = [output]
    while queue:
        node = queue.pop()
        if node in live:
            continue
        live.add(node)
        if node not in folded:
            queue.extend(node.all_input_nodes)
    return live - set(folded)


def _sites(graph: fx.Graph, live: set[fx.Node], fusions: Fusions) -> list[Site]:
    found = []
    for node in graph.nodes:
        if node in live and isinstance(node.target, Fused):
            found += [] if node.target.site is None else [node.target.site]
        elif node in live and node.op == "call_function" and is_transform(str(node.target)):
            source, *args = arguments(node)
            is_real = not meta_value(source).dtype.is_complex
            name, path, operator = site_name(node), module_path(node), str(node.target)
            site = describe(name, path, operator, shape_of(source), is_real, tuple(args))
            partner, unfused = fusions.partners.get(name), fusions.unfused.get(name, site.unfused)
            found.append(dataclasses.replace(site, partner=partner, unfused=unfused))
    return found


def _relative_error(found: Any, expected: Any) -> float:
    worst = 0.0
    for a, b in zip(pytree.tree_leaves(found), pytree.tree_leaves(expected), strict=True):
        if isinstance(b, Tensor) and b.numel() and b.is_floating_point():
            scale = max(float(b.abs().max()), 1e-30)
            worst = max(worst, float((a - b).abs().max()) / scale)
    return worst


def _restore_modules(program: ExportedProgram) -> None:
    """Give each node the path of the original module it came from, where converters look for it."""
    for node in program.graph.nodes:
        path = node.meta.get("custom", {}).get(MODULE)
        if path:
            node.meta["nn_module_stack"] = {"": ("", "torch.nn.Module"), path: (path, "torch.nn.Module")}


def _without_unused(program: ExportedProgram) -> ExportedProgram:
    """Drop stored tensors that nothing reads any more (a kernel whose transform was folded)."""
    graph, specs = program.graph_module.graph, program.graph_signature.input_specs
    graph.eliminate_dead_code()
    kept, gone = [], set()
    for node, spec in zip([n for n in graph.nodes if n.op == "placeholder"], list(specs), strict=True):
        if spec.kind is InputKind.USER_INPUT or node.users:
            kept.append(spec)
        else:
            gone.add(spec.target)
            graph.erase_node(node)
    specs[:] = kept
    for name in gone - {spec.target for spec in kept} - {None}:
        program.state_dict.pop(name, None)
        program.constants.pop(name, None)
    program.graph_module.recompile()
    check: Any = program.validate  # torch leaves it without types
    check()
    return program
