"""A network as it was traced: what lowering it for any profile begins with."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from ...models.widening import TO_FLOAT32, in_float32, widening_notes
from .trace import check_inputs, trace


@dataclass(frozen=True)
class Traced:
    """The graph of a network, of ATen operators, with its transforms whole.

    Tracing takes more than half of a lowering, and does not depend on the profile. ``module`` and ``inputs``
    are the network and its example inputs, in float32 where ``widened`` says so; ``baked`` notes which
    constants it read in Python. ``exported`` is never changed: passes work on :meth:`graph_module`.
    """

    module: nn.Module
    inputs: tuple[Tensor, ...]
    exported: ExportedProgram
    widened: tuple[str, ...]
    baked: tuple[str, ...]

    def graph_module(self) -> fx.GraphModule:
        """Return a copy of the graph, for passes to change; nodes keep their names, tensors are shared."""
        return fx.GraphModule(self.exported.graph_module, copy.deepcopy(self.exported.graph))


def trace_network(module: nn.Module, example_inputs: tuple[Tensor, ...]) -> Traced:
    """Trace a network on example inputs; see :func:`.lower.lower` for both and for the errors."""
    check_inputs(example_inputs)
    widened = tuple(widening_notes(module))
    if widened:
        module = in_float32(module)
        example_inputs = tuple(value.to(TO_FLOAT32.get(value.dtype, value.dtype)) for value in example_inputs)
    exported, baked = trace(module, example_inputs)
    return Traced(module, example_inputs, exported, widened, baked)
