"""An ONNX source in the place of a lowered program: what the targets that build on ONNX take."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ....runtime.errors import LoweringError, TargetUnavailableError
from ...spectral.audit import Audit, audit_site
from ...spectral.planner import Choice, Plan
from ...spectral.sites import Axis, Kind, Site
from .. import checks
from .check import RUNTIME, check_rewriting
from .ports import Port, inputs_of, outputs_of, rename_ports
from .products import Transform
from .rewrite import RewrittenNode, is_matrix
from .source import OnnxSource

if TYPE_CHECKING:
    import onnx

REASON = "a node of the ONNX file, rewritten as products with constants"
SIMPLIFIED_ERROR = 1e-5
"""Largest relative change by a simplifier that is taken for rounding."""


@dataclass(frozen=True)
class OnnxProgram:
    """A plain ONNX model with fixed sizes, ready to be built; builders read it as a lowered program.

    Nodes carry their provenance in their metadata: the module, where the exporter recorded it, and the name
    of their first output, by which calibration tables know them. ``profile`` is that of the target
    (:attr:`~fdikp_edge.export.target.Target.profile`); ``modules`` maps results to the modules they came
    from. ``self_check``: largest error of the plain file against the original, relative to the largest value.
    """

    name: str
    model: onnx.ModelProto
    rewritten: tuple[RewrittenNode, ...]
    source_sha256: str
    profile: str
    modules: Mapping[str, str]
    notes: tuple[str, ...] = ()
    self_check: float | None = None
    samples: Callable[[], Any] = tuple
    input_names: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()

    @cached_property
    def sha256(self) -> str:
        """Hash of the model's bytes."""
        return hashlib.sha256(self.model.SerializeToString(deterministic=True)).hexdigest()

    @property
    def key(self) -> tuple[str, str]:
        """What a calibration table knows it by."""
        return self.sha256, self.profile

    @cached_property
    def inputs(self) -> tuple[Port, ...]:
        """What a caller feeds; every size is known."""
        return inputs_of(self.model)

    @cached_property
    def outputs(self) -> tuple[Port, ...]:
        """What comes out; every size is known."""
        return outputs_of(self.model)

    @property
    def program(self) -> Any:
        """No traced program exists; a target that asks for one cannot be built from ONNX.

        Raises:
            TargetUnavailableError: always.
        """
        raise TargetUnavailableError(
            "this target is built from a PyTorch network, and an ONNX file holds none; give the network "
            "itself, or build for a target that reads ONNX"
        )

    @cached_property
    def plan(self) -> Plan:
        """How each transform is computed."""
        choices = [
            Choice(_site(node, self.modules.get(node.output, ""), node.transform), node.strategy, REASON)
            for node in self.rewritten
            if node.transform is not None
        ]
        return Plan(self.profile, tuple(choices))

    @cached_property
    def audit(self) -> Audit:
        """Figures of the transforms; ``self_check`` is the difference from the original file."""
        rows = []
        for choice, node in zip(self.plan.choices, [n for n in self.rewritten if n.transform], strict=True):
            assert node.transform is not None
            rows.append(audit_site(choice.site, choice.strategy, choice.site.batch * node.work))
        stored = sum(tensor.ByteSize() for tensor in self.model.graph.initializer if is_matrix(tensor.name))
        return Audit(tuple(rows), checks.census(self.model), stored, 0, self.self_check)

    def for_profile(self, profile: str) -> OnnxProgram:
        """Return the same model for another profile."""
        return dataclasses.replace(self, profile=profile)

    def convert(self) -> tuple[onnx.ModelProto, list[str]]:
        """Return a copy of the checked model, and the notes; see :func:`..build.convert`."""
        return copy.deepcopy(self.model), list(self.notes)


def prepare(source: OnnxSource, profile: str) -> OnnxProgram:
    """Make a source ready to be built: simplified, static, checked, with provenance.

    Raises:
        LoweringError: sizes are open, control flow or operators outside the standard remain, or a simplifier
            left no valid file.
    """
    notes: list[str] = []
    model = _simplified(source.plain, notes)
    rename_ports(model)
    recorded = checks.provenance(source.plain)  # a simplifier drops what the exporter recorded
    _name_values(model, source.plain)
    _name_nodes(model)
    names = [node.output[0] for node in model.graph.node]
    checks.strip(model, {name: (recorded.get(name, ("", ""))[0], name) for name in names})
    modules = {name: module for name, (module, _) in recorded.items() if module}
    _drop_empty_imports(model)
    try:
        checks.check(model, notes)
    except LoweringError as error:
        raise LoweringError(f"{source.path}: {error}") from error
    _fix_outputs(model)
    described = (*_described(source), *notes)
    return OnnxProgram(source.name, model, source.rewritten, source.sha256, profile, modules, described)


def _site(node: RewrittenNode, module: str, transform: Transform) -> Site:
    """Describe a rewritten node as the lowering describes its own transforms; open sizes count 1."""
    if transform.parts_out == 1:
        kind = Kind.C2R
    else:
        kind = Kind.R2C if transform.kept < transform.length else Kind.C2C
    scale = 1.0 / transform.length if transform.inverse else 1.0
    axis = Axis(node.axis, transform.length, transform.taken, transform.kept, scale)
    shape = tuple(1 if size is None else size for size in node.shape)
    sign = 1 if transform.inverse else -1
    return Site(node.name, module, node.operator, kind, sign, shape, transform.parts_in == 1, (axis,))


def transform_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Return the products that compute transforms, by the matrices that they read."""
    return [node for node in model.graph.node if any(is_matrix(name) for name in node.input)]


def _simplified(model: onnx.ModelProto, notes: list[str]) -> onnx.ModelProto:
    """Return onnxsim's version where it computes the same and still shows the transforms, else a copy."""
    kept = copy.deepcopy(model)
    try:
        import onnxsim
    except ImportError:
        notes.append("onnxsim is not installed: the file was not simplified")
        return kept
    try:
        simpler, _ = onnxsim.simplify(kept, check_n=0)
    except Exception as error:
        lines = str(error).splitlines() or [""]
        notes.append(f"onnxsim failed and was not used: {type(error).__name__}: {lines[0]:.200}")
        return kept
    if len(transform_nodes(simpler)) != len(transform_nodes(kept)):
        notes.append("onnxsim was not used: it merged products of transforms with others")
        return kept
    comparison = check_rewriting(kept, simpler)
    if not comparison.errors.get(RUNTIME, 1.0) <= SIMPLIFIED_ERROR:
        reason = comparison.reason or f"it changed the result: {dict(comparison.errors)}"
        notes.append(f"onnxsim was not used: {reason}")
        return kept
    result: onnx.ModelProto = simpler
    return result


def _name_values(model: onnx.ModelProto, before: onnx.ModelProto) -> None:
    """Name what a simplifier added by its place: its own names count from the start of the process."""
    known = _value_names(before)
    renamed: dict[str, str] = {}
    for name in [*(tensor.name for tensor in model.graph.initializer), *_results(model)]:
        if name not in known and name not in renamed:
            renamed[name] = f"simplified_{len(renamed)}"
    while known & set(renamed.values()):
        renamed = {name: f"{new}_" for name, new in renamed.items()}
    for tensor in model.graph.initializer:
        tensor.name = renamed.get(tensor.name, tensor.name)
    for node in model.graph.node:
        if node.name and any(name in renamed for name in node.output):
            node.name = ""
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    del model.graph.value_info[:]


def _value_names(model: onnx.ModelProto) -> set[str]:
    ports = (*model.graph.input, *model.graph.output, *model.graph.initializer)
    return {port.name for port in ports} | set(_results(model))


def _results(model: onnx.ModelProto) -> list[str]:
    return [name for node in model.graph.node for name in node.output if name]


def _name_nodes(model: onnx.ModelProto) -> None:
    """Give every node a name of its own: builders and runtimes tell layers apart by it."""
    taken: set[str] = set()
    for node in model.graph.node:
        wish = node.name or f"node_{node.output[0]}"
        name, count = wish, 1
        while name in taken:
            name, count = f"{wish}_{count}", count + 1
        node.name = name
        taken.add(name)


def _drop_empty_imports(model: onnx.ModelProto) -> None:
    """Drop operator sets that no node uses: their domains are not the standard's."""
    used = {node.domain or "" for node in checks.nodes(model)} | {
        function.domain for function in model.functions
    }
    for place in reversed(range(len(model.opset_import))):
        domain = model.opset_import[place].domain
        if domain not in ("", "ai.onnx") and domain not in used:
            del model.opset_import[place]


def _fix_outputs(model: onnx.ModelProto) -> None:
    """Write the sizes of outputs that follow from the inputs'."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    for port, known in zip(model.graph.output, inferred.graph.output, strict=True):
        port.type.CopyFrom(known.type)
    del model.graph.value_info[:]


def _described(source: OnnxSource) -> list[str]:
    kinds: dict[str, int] = {}
    for node in source.rewritten:
        kinds[node.operator] = kinds.get(node.operator, 0) + 1
    if not kinds:
        return []
    counts = ", ".join(f"{count} {name}" for name, count in sorted(kinds.items()))
    return [f"from an ONNX file: {counts} nodes rewritten as products with constants"]
