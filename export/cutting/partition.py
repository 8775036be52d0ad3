"""A program cut in two at a module boundary, each half computed by the lowered program or by a built model.

A cut is a set of nodes that holds whatever its members read; what crosses it are values that the program and
the built model both have (:mod:`.parts`). Marking every value of a model as an output would break the fusions
that its runtime makes, and with them the answer: here a model is cut once, and each half is fused as ever.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import fx
from torch.export import ExportedProgram

from ...calibration.layers import module_of
from ...calibration.runner import Runner
from ...runtime.errors import LoweringError
from ...runtime.photo import Array
from .parts import Parts, canonical, labelled, match


@dataclass(frozen=True)
class Cut:
    """``inside``: names of the nodes before the cut. ``crossing``: (node, value of the model) across it."""

    inside: frozenset[str]
    crossing: tuple[tuple[str, str], ...]


class Reference(Runner):
    """Runs any part of a program in PyTorch."""

    def part(self, given: Mapping[str, Array], wanted: Sequence[str]) -> dict[str, Array]:
        """Compute the nodes called ``wanted`` from those given (by name)."""
        nodes: dict[str, fx.Node] = {node.name: node for node in self.graph.nodes}
        needed: set[fx.Node] = set()
        waiting = [nodes[name] for name in wanted]
        while waiting:
            node = waiting.pop()
            if node not in needed:
                needed.add(node)
                waiting += [] if node.name in given else node.all_input_nodes
        self.env = {}
        with torch.no_grad():
            for node in self.graph.nodes:
                if node not in needed:
                    continue
                if node.name in given:
                    self.env[node] = torch.from_numpy(given[node.name])
                elif node.op == "placeholder":
                    self.env[node] = self.stored[node.name]
                else:
                    self.env[node] = self.run_node(node)
            values: dict[str, Array] = {name: self.env[nodes[name]].contiguous().numpy() for name in wanted}
        self.env = {}
        return values


class Partition:
    """A program and a built model of it, and where both can be cut."""

    def __init__(
        self, program: ExportedProgram, parts: Parts, *, output: int = 0, against: Parts | None = None
    ) -> None:
        """Find which values of the model are which nodes of the program.

        Args:
            program: what the model was built from.
            parts: the model.
            output: which of the program's results to follow; what only others need is left out.
            against: another model of the program, or of a version of it, to take the program's place as the
                half that is believed.

        Raises:
            LoweringError: the result does not depend on an input.
        """
        signature = program.graph_signature
        self.parts = parts
        self.reference = Reference(program)
        self._nodes: dict[str, fx.Node] = {node.name: node for node in program.graph.nodes}
        self.inputs = tuple(map(str, signature.user_inputs))
        results = tuple(map(str, signature.user_outputs))
        self.output, self._returned = results[output], parts.outputs[output]
        self._all_returned = [canonical(self._nodes[name]).name for name in results]
        sources = [self._nodes[name] for name in self.inputs]
        needed = _reached([self._nodes[self.output]], lambda node: node.all_input_nodes)
        self._fed = _reached(sources, lambda node: list(node.users)) & {self._nodes[self.output], *needed}
        self._order = [node for node in program.graph.nodes if node in self._fed]
        if not self._order:
            raise LoweringError(f"the result {self.output!r} does not depend on an input: nothing to cut")
        self.values = match(self._nodes, self.inputs, results, parts)
        self.against = against
        self._old: dict[str, str] = {}
        if against is not None:
            self._old = match(self._nodes, self.inputs, results, against)
            self.values = {name: value for name, value in self.values.items() if name in self._old}

    @cached_property
    def modules(self) -> list[str]:
        """The modules in the order in which they are called; one that is called twice is there twice."""
        return [path for path, _ in itertools.groupby(self._order, key=module_of)]

    @cached_property
    def ends(self) -> tuple[Cut, Cut]:
        """The cuts with nothing and with everything inside."""
        everything = frozenset(node.name for node in self._order)
        nothing = Cut(frozenset(), tuple(zip(self.inputs, self.parts.inputs, strict=True)))
        return nothing, Cut(everything, ((self.output, self._returned),))

    def module_cuts(self) -> list[Cut]:
        """Return the cuts at module boundaries, from nothing inside to everything."""
        ends = [i for i in range(1, len(self._order)) if self._module(i - 1) != self._module(i)]
        return self._cuts(ends)

    def node_cuts(self, before: Cut, after: Cut) -> list[Cut]:
        """Return all cuts from ``before`` to ``after``."""
        places = [i for i, node in enumerate(self._order) if node.name in after.inside - before.inside]
        cuts = [cut for cut in self._cuts(range(places[0] + 1, places[-1] + 1)) if cut.inside > before.inside]
        return [before, *(cut for cut in cuts if cut.inside < after.inside), after]

    def between(self, before: Cut, after: Cut) -> list[fx.Node]:
        """Return the nodes between two cuts, in order."""
        return [node for node in self._order if node.name in after.inside - before.inside]

    def model(self, given: Mapping[str, Array], before: Cut, after: Cut) -> dict[str, Array]:
        """Let the built model compute what crosses ``after`` from what crosses ``before``."""
        named = dict(before.crossing)
        fed = {named[name]: value for name, value in given.items()}
        values = self.parts.run(fed, [value for name, value in after.crossing if name not in given])
        return {name: given[name] if name in given else values[value] for name, value in after.crossing}

    def believed(self, given: Mapping[str, Array], after: Cut) -> dict[str, Array]:
        """Let the program, or the model that stands for it, compute what crosses ``after``."""
        wanted = [name for name, _ in after.crossing]
        if self.against is None:
            return self.reference.part(given, wanted)
        named = {name: self._old[canonical(self._nodes[name]).name] for name in (*given, *wanted)}
        fed = {named[name]: value for name, value in given.items()}
        values = self.against.run(fed, [named[name] for name in wanted if name not in given])
        return {name: given[name] if name in given else values[named[name]] for name in wanted}

    def precision(self, node: fx.Node) -> str:
        """Return the arithmetic in which the model computes a node; empty where it has no step of its own."""
        return self._precisions.get(node.name, "")

    @cached_property
    def _precisions(self) -> dict[str, str]:
        precisions: dict[str, str] = {}
        for step in labelled(self.parts, self._nodes, self._all_returned):
            if "int8" not in precisions.get(step.label, ""):
                precisions[step.label] = step.precision
        return precisions

    def _module(self, place: int) -> str:
        return module_of(self._order[place])

    def _cuts(self, places: Sequence[int]) -> list[Cut]:
        nothing, everything = self.ends
        cuts = [nothing]
        for place in places:
            cut = self._shrunk(self._order[:place])
            if len(cut.inside) > len(cuts[-1].inside):
                cuts.append(cut)
        return [*(cut for cut in cuts if len(cut.inside) < len(everything.inside)), everything]

    def _shrunk(self, nodes: Sequence[fx.Node]) -> Cut:
        """Return the largest cut inside ``nodes`` across which only values go that the model has too."""
        inside = dict.fromkeys(nodes)
        while True:
            crossing = [
                node for node in inside if any(u in self._fed and u not in inside for u in node.users)
            ]
            lost = {node for node in crossing if canonical(node).name not in self.values}
            if not lost:
                break
            kept: dict[fx.Node, None] = {}
            for node in inside:
                sources = [s for s in node.all_input_nodes if s in self._fed]
                if node not in lost and all(s in kept for s in sources):
                    kept[node] = None
            inside = kept
        named = [(node.name, self.values[canonical(node).name]) for node in crossing]
        for name, value in zip(self.inputs, self.parts.inputs, strict=True):
            if any(user in self._fed and user not in inside for user in self._nodes[name].users):
                named.append((name, value))
        return Cut(frozenset(node.name for node in inside), tuple(named))


def _reached(sources: Sequence[fx.Node], neighbours: Callable[[fx.Node], Sequence[fx.Node]]) -> set[fx.Node]:
    """Return all nodes on paths from ``sources``, without these."""
    reached: set[fx.Node] = set()
    waiting = [node for source in sources for node in neighbours(source)]
    while waiting:
        node = waiting.pop()
        if node not in reached:
            reached.add(node)
            waiting += neighbours(node)
    return reached
