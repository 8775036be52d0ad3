"""What any part of a built model can be asked, and which of its values are which nodes of the program.

A node is told by provenance, and then checked: a converter that folds a normalisation into the convolution
before it leaves the convolution's name on what is now the normalisation's result. So a value only counts as a
node's where its readers are those of the node.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, fx

from ...runtime.artifact import Artifact
from ...runtime.photo import Array
from ..aten import COPIES, NORMALISATIONS, base_name


@dataclass(frozen=True)
class Step:
    """One operator of a built model.

    ``label`` is the name of the program's node it came from, empty where nothing says. ``transparent`` ones
    (casts, quantise and dequantise) pass a value on in another precision.
    """

    label: str
    kind: str
    reads: tuple[str, ...]
    makes: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    precision: str
    transparent: bool = False


class Parts(Protocol):
    """A built model of which any part can be run; its ends are in the order of the program's."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    steps: Sequence[Step]

    def run(self, given: Mapping[str, Array], wanted: Sequence[str]) -> dict[str, Array]:
        """Compute the values called ``wanted`` from those given, with what lies between and nothing else.

        Floats may be given in any width, and are returned as float32.
        """
        ...


class Opener(Protocol):
    """Reads an artifact's model as :class:`Parts`: the ``parts`` of a row in the target table."""

    def __call__(self, artifact: Artifact, threads: int) -> Parts:
        """Read it.

        Raises:
            ArtifactError: the model cannot be read, or does not say which operator came from where.
            TargetUnavailableError: the runtime is missing here.
        """
        ...


def canonical(node: fx.Node) -> fx.Node:
    """Return the first node that has this node's value."""
    while base_name(node.target) in COPIES and node.op == "call_function":
        node = node.all_input_nodes[0]
    return node


def match(
    nodes: Mapping[str, fx.Node], sources: Sequence[str], results: Sequence[str], parts: Parts
) -> dict[str, str]:
    """Return name of node -> value of the model that is that node's, for those where this is certain.

    ``sources`` and ``results`` are the names of the program's inputs and of the nodes that it returns.
    """
    returned = [canonical(nodes[name]).name for name in results]
    steps = labelled(parts, nodes, returned)
    readers = _readers(steps, parts.outputs)
    last = {step.label: step for step in steps if step.label}
    values = dict(zip([*sources, *returned], [*parts.inputs, *parts.outputs], strict=True))
    ends = {_result(index): nodes[name] for index, name in enumerate(results)}
    for label, step in last.items():
        for index, value in enumerate(step.makes):
            users = readers.get(value, set()) - {label}
            if not users or "" in users:
                continue
            seen = {_read_as(nodes[label], index, user, nodes, ends, last) for user in users}
            node = seen.pop() if len(seen) == 1 else None
            result = None if node is None else node.meta.get("val")
            if node is not None and isinstance(result, Tensor) and tuple(result.shape) == step.shapes[index]:
                values.setdefault(node.name, value)
    return values


def labelled(parts: Parts, nodes: Mapping[str, fx.Node], returned: Sequence[str]) -> list[Step]:
    """Give a step that nothing tells of the label of the one step that reads it: it is a piece of that.

    ``returned`` are the nodes whose values the model returns.
    """
    readers: dict[str, set[str]] = {}
    for value, node in zip(parts.outputs, returned, strict=True):
        readers.setdefault(value, set()).add(node)
    result = []
    for step in reversed(parts.steps):
        label = step.label if step.label in nodes else ""
        if not label and not step.transparent:
            users = set().union(*(readers.get(value, set()) for value in step.makes))
            label = users.pop() if len(users) == 1 else ""
        passed = set().union(*(readers.get(value, set()) for value in step.makes))
        for value in step.reads:
            readers.setdefault(value, set()).update(passed if step.transparent else {label})
        result.append(dataclasses.replace(step, label=label))
    return result[::-1]


def _result(index: int) -> str:
    """Return the label of what reads a result of the model: no node has a name with spaces."""
    return f"result {index} of the program"


def _readers(steps: Sequence[Step], outputs: Sequence[str]) -> dict[str, set[str]]:
    """Return value -> labels of the steps that read it, also through transparent ones."""
    readers: dict[str, set[str]] = {}
    for index, value in enumerate(outputs):
        readers.setdefault(value, set()).add(_result(index))
    for step in reversed(steps):
        passed = set().union(*(readers.get(value, set()) for value in step.makes))
        for value in step.reads:
            readers.setdefault(value, set()).update(passed if step.transparent else {step.label})
    return readers


def _read_as(
    node: fx.Node,
    index: int,
    label: str,
    nodes: Mapping[str, fx.Node],
    ends: Mapping[str, fx.Node],
    present: Mapping[str, Any],
) -> fx.Node | None:
    """Return which node the reader ``label`` takes for the value labelled ``node``; ``None`` if not certain.

    It is ``node`` itself, or a normalisation right after it that the model has no step for: that was folded
    into it.
    """
    user = ends[label] if label in ends else nodes[label]
    candidates = [user] if label in ends else user.all_input_nodes
    if base_name(user.target) in NORMALISATIONS:  # coremltools names the two after the latter
        folded = [c for c in candidates if "conv" in str(c.target) and c.name not in present]
        candidates = [*candidates, *(source for conv in folded for source in conv.all_input_nodes)]
    for candidate in map(canonical, candidates):
        walked = candidate
        while walked.name != node.name:
            if walked.name in present or walked.op != "call_function":
                break
            if "getitem" in str(walked.target):
                picked: Any = walked.args[1]
                normal = base_name(walked.all_input_nodes[0].target) in NORMALISATIONS
                if picked != (0 if normal else index):
                    break
            elif base_name(walked.target) not in NORMALISATIONS:
                break
            walked = canonical(walked.all_input_nodes[0])
        if walked.name == node.name:
            return candidate
    return None
