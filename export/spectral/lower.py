"""The lowering from end to end: trace, fold, plan, rewrite, audit."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx import traceback as fx_traceback

from ...runtime.errors import LoweringError
from .audit import Audit, audit_program
from .fuse import Fused, Fusions, fuse
from .graph import arguments, meta_value, module_path, shape_of, site_name
from .outputs import name_outputs
from .passes.absorb_projection import absorb_preparation
from .passes.drop_zeros import drop_zeros
from .passes.expand import expand
from .passes.fold_constants import constant_values
from .passes.limit_rank import reduce_ranks
from .passes.place_parts import place_parts
from .passes.prune import Pruned, prune
from .passes.tidy import drop_aliases, restore_modules, without_unused
from .planner import Plan, choose, make_plan, profile, read_override
from .program_check import check_program
from .rewriter import COMPLEX_INPUT, LoweredModule, store
from .selfcheck import as_real
from .sites import Site, describe, is_transform
from .traced import Traced, trace_network


@dataclass(frozen=True)
class LoweredProgram:
    """A real-valued program with its plan and the proof of it.

    ``program`` takes and returns what the original module does, computes in the same dtype, and holds no
    complex value, no ``torch.fft`` operator (unless a site was asked to stay ``native``), no symbolic shape
    and no branch. ``samples`` returns inputs that show what the program is used on, each a tensor per input;
    where none were given, those that it was traced with. ``input_names`` and ``output_names`` are what files
    built from it call them: the arguments of ``forward``, and ``out`` for a network that returns one tensor,
    else paths into what it returns (``out.mask``, ``out.scales.0``). ``traced`` is what :func:`lower_traced`
    lowers for another profile.
    """

    program: ExportedProgram
    plan: Plan
    audit: Audit
    samples: Callable[[], Sequence[tuple[Tensor, ...]]]
    input_names: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()
    traced: Traced | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Name inputs and outputs as the program does, where no names were given."""
        inputs, outputs = end_names(self.program)
        object.__setattr__(self, "input_names", self.input_names or inputs)
        object.__setattr__(self, "output_names", self.output_names or outputs)

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
    pruned: bool = True,
) -> LoweredProgram:
    """Rewrite a network that calls ``torch.fft`` into one of real matrix products.

    Args:
        module: any ``nn.Module`` with static shapes, in ``eval`` mode. One with parameters or buffers of 16
            bits is lowered in float32, and the audit's notes say so.
        example_inputs: positional tensors; their shapes and dtypes become the program's. A complex tensor of
            shape S becomes a real input of shape [*S, 2], real part first, and a complex output likewise.
        target: name of the cost profile that the planner uses (:attr:`..target.Target.profile`).
        plan: a plan made before, or patterns of sites to strategies; see :func:`.planner.make_plan`.
        pruned: compute only the modes of a spectrum that something reads, and transform back only those that
            are not zero; ``False`` computes all of them, to compare with.

    Raises:
        BadInputError: inputs that are not tensors.
        UnknownNameError: a target without a profile, a strategy that does not exist, or a pattern of ``plan``
            that matches no site.
        DynamicShapeError: the network's shapes or branches depend on data.
        UnsupportedOperatorError: a complex operator without a rule; names it and its module.
        LoweringFaultError: the lowered program computes something else than the network on the example
            inputs, or a rule failed; names the first node that departs and its module.
        LoweringError: ``plan`` asks for a strategy at a site that it cannot compute, the network fails on the
            example inputs, or anything else that cannot be lowered, with the place.
    """
    profile(target), read_override(plan)  # a wrong name is told before the trace
    traced = trace_network(module, example_inputs)
    return lower_traced(traced, target=target, plan=plan, pruned=pruned)


def lower_traced(
    traced: Traced,
    *,
    target: str | None = None,
    plan: Plan | Mapping[str, str] | None = None,
    pruned: bool = True,
) -> LoweredProgram:
    """Lower a network that is traced already; arguments and errors as for :func:`lower`."""
    rates, wanted = profile(target), read_override(plan)
    exported, graph_module = traced.exported, traced.graph_module()
    expand(graph_module)
    if pruned:
        prune(graph_module.graph)
    absorb_preparation(graph_module.graph)
    drop_zeros(graph_module.graph)
    fusions = fuse(
        graph_module.graph,
        choose=functools.partial(choose, rates=rates, wanted=wanted),
        channels_last=rates.channels_last,
        runtime_kernels=rates.runtime_kernels,
        block_products=rates.block_products,
        planar_mixing=rates.planar_mixing,
        inputs=exported.graph_signature.user_inputs,
    )
    lowered = _assemble(exported, graph_module)
    known, placeholders = _tensors_of(exported, graph_module.graph, lowered)
    folded = constant_values(graph_module.graph, known)
    folded_keys = {node: f"constant_{node.name}" for node in folded}
    for node, value in folded.items():
        store(lowered.spectral, folded_keys[node], value)
    live = _live_nodes(graph_module.graph, folded)
    chosen = make_plan(_sites(graph_module.graph, live, fusions), target, plan)
    lowered.prepare(chosen, placeholders, folded_keys, live)
    inputs = tuple(as_real(value).contiguous() for value in traced.inputs)
    with torch.no_grad():
        lowered(*inputs)  # running it once fills the bank, which tracing only reads
        with fx_traceback.preserve_node_meta():
            program = torch.export.export(lowered, inputs, strict=False)
        drop_aliases(program)
        program = without_unused(program)
        restore_modules(program)
        program = reduce_ranks(place_parts(program))
        check = check_program(program, traced.module, traced.inputs, lowered)
    names, left_out = name_outputs(exported)
    notes = (*traced.widened, *_complex_ends(exported), *left_out, *traced.baked, *check.notes)
    audit = audit_program(program, chosen, check.error, fusions.records, notes)
    return LoweredProgram(
        program,
        chosen,
        audit,
        samples=lambda: [inputs],
        input_names=tuple(map(str, exported.graph_signature.user_inputs)),
        output_names=names,
        traced=traced,
    )


def end_names(program: ExportedProgram) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return names for the inputs of a program, those of its nodes, and for its outputs, which have none."""
    signature = program.graph_signature
    count = len(signature.user_outputs)
    outputs = ("output",) if count == 1 else tuple(f"output_{index}" for index in range(count))
    return tuple(map(str, signature.user_inputs)), outputs


def _complex_ends(exported: ExportedProgram) -> list[str]:
    """Notes on inputs and outputs that are complex in the network and real, with a last axis of 2, here."""
    notes = []
    for index, name in enumerate(exported.graph_signature.user_inputs):
        node = next((n for n in exported.graph.nodes if n.name == name), None)
        value = None if node is None else node.meta.get("val")
        if isinstance(value, Tensor) and value.is_complex():
            notes.append(f"input {index} ({name}) is complex: real, [..., 2] with real and imaginary part")
    output = next(node for node in reversed(exported.graph.nodes) if node.op == "output")
    for index, node in enumerate(output.args[0]):
        value = node.meta.get("val") if isinstance(node, fx.Node) else None
        if isinstance(value, Tensor) and value.is_complex():
            notes.append(f"output {index} is complex: real, [..., 2] with real and imaginary part")
    return notes


def _assemble(exported: ExportedProgram, graph_module: fx.GraphModule) -> LoweredModule:
    mutated = [s for s in exported.graph_signature.output_specs if s.kind is not OutputKind.USER_OUTPUT]
    if any(spec.kind is OutputKind.USER_INPUT_MUTATION for spec in mutated):
        raise LoweringError("the network writes into its input in forward; write into a copy: x = x.clone()")
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
    return LoweredModule(real, graph_module, exported.call_spec.out_spec)


def _tensors_of(
    exported: ExportedProgram, graph: fx.Graph, lowered: LoweredModule
) -> tuple[dict[fx.Node, Any], list[str | None]]:
    """(values of the placeholders that store tensors, what each placeholder reads; ``None``: user input)."""
    known: dict[fx.Node, Any] = {}
    names: list[str | None] = []
    nodes = [node for node in graph.nodes if node.op == "placeholder"]
    for node, spec in zip(nodes, exported.graph_signature.input_specs, strict=True):
        if spec.kind is InputKind.USER_INPUT:
            value = node.meta.get("val")
            names.append(COMPLEX_INPUT if isinstance(value, Tensor) and value.is_complex() else None)
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
    sites = []
    for node in graph.nodes:
        if node in live and isinstance(node.target, Pruned):
            sites.append(node.target.site(site_name(node), module_path(node)))
        elif node in live and isinstance(node.target, Fused):
            sites += [] if node.target.site is None else [node.target.site]
        elif node in live and node.op == "call_function" and is_transform(str(node.target)):
            source, *args = arguments(node)
            is_real = not meta_value(source).dtype.is_complex
            name, path, operator = site_name(node), module_path(node), str(node.target)
            site = describe(name, path, operator, shape_of(source), is_real, tuple(args))
            partner, unfused = fusions.partners.get(name), fusions.unfused.get(name, site.unfused)
            sites.append(dataclasses.replace(site, partner=partner, unfused=unfused))
    return sites
