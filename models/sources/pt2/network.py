"""The module that the graph of a .pt2 file becomes: it calls one operator after the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Name:
    """Stands for a value in arguments."""

    name: str


@dataclass(frozen=True)
class Step:
    """One call. ``results`` are names, ``None`` for those nobody uses; ``many``: there are several."""

    operator: Any
    arguments: tuple[Any, ...]
    options: tuple[tuple[str, Any], ...]
    results: tuple[str | None, ...]
    many: bool
    last_uses: tuple[str, ...] = ()


class Pt2Network(nn.Module):
    """The network of a .pt2 file; takes and returns tensors by position, for the shapes of its export."""

    def __init__(self, inputs: Sequence[str], outputs: Sequence[str], steps: Sequence[Step]) -> None:
        """Keep the calls; :func:`.graph.build` adds the weights."""
        super().__init__()
        self.inputs, self.outputs, self.steps = tuple(inputs), tuple(outputs), tuple(steps)
        self.stored: dict[str, str] = {}
        self.narrowed = False

    def forward(self, *tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Run the calls in order; a value is let go after its last use."""
        values: dict[str, Any] = dict(zip(self.inputs, tensors, strict=True))
        for name, path in self.stored.items():
            owner, _, leaf = path.rpartition(".")
            values[name] = getattr(self.get_submodule(owner), leaf)
        for step in self.steps:
            result = step.operator(
                *_filled(step.arguments, values), **{key: _filled(v, values) for key, v in step.options}
            )
            several = result if step.many else (result,)
            values.update({name: value for name, value in zip(step.results, several, strict=True) if name})
            for name in step.last_uses:
                del values[name]
        results = tuple(values[name] for name in self.outputs)
        return results[0] if len(results) == 1 else results


def _filled(value: Any, values: Mapping[str, Any]) -> Any:
    """Return arguments with each name replaced by its value."""
    if isinstance(value, Name):
        return values[value.name]
    if isinstance(value, (list, tuple)):
        return [_filled(entry, values) for entry in value]
    return value


def with_last_uses(steps: Sequence[Step], outputs: Iterable[str]) -> list[Step]:
    """Note for each call which values nothing needs after it."""
    needed = set(outputs)
    backwards = []
    for step in reversed(steps):
        touched = {*_used([step.arguments, [v for _, v in step.options]]), *filter(None, step.results)}
        dying = tuple(sorted(touched - needed))
        needed |= touched
        backwards.append(
            Step(step.operator, step.arguments, step.options, step.results, step.many, last_uses=dying)
        )
    return backwards[::-1]


def _used(value: Any) -> Iterable[str]:
    if isinstance(value, Name):
        yield value.name
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from _used(entry)
