"""Runs a program node by node, so that somebody can look at, or change, what each node computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from ..runtime.errors import CalibrationError
from ..runtime.photo import Array
from .layers import stored_tensors

Watch = Callable[[fx.Node, Any], Any]
"""Told each node and its value; what it returns takes the value's place."""


class Runner(fx.Interpreter):
    """Runs a program of one input and one output; node names are those of ``program.graph``."""

    def __init__(self, program: ExportedProgram, watch: Watch | None = None) -> None:
        """Hold the program; ``watch`` sees every value of a call."""
        super().__init__(program.graph_module, garbage_collect_values=True)
        self.extra_traceback = False
        self.stored = stored_tensors(program)
        self.watch = watch

    def __call__(self, array: Array) -> Array:
        """Return the program's output for one input."""
        self.start(array)
        return self.finish(self.graph.nodes)

    def start(self, array: Array) -> None:
        """Get ready to compute the nodes for one input."""
        given = torch.from_numpy(np.ascontiguousarray(array))
        placeholders = [node for node in self.graph.nodes if node.op == "placeholder"]
        self.args_iter = iter([self.stored.get(node.name, given) for node in placeholders])
        self.env: dict[fx.Node, Any] = {}

    def step(self, node: fx.Node) -> None:
        """Compute one node, and let go of what no later one reads."""
        with torch.no_grad():
            self.env[node] = self.run_node(node)
        for dead in self.user_to_last_uses.get(node, ()):
            self.env.pop(dead, None)

    def finish(self, nodes: Iterable[fx.Node]) -> Array:
        """Compute the nodes that are left and return the output."""
        for node in nodes:
            self.step(node)
        outputs = self.env[node]
        if len(outputs) != 1:
            raise CalibrationError(f"expected a program with one output; this one has {len(outputs)}")
        result: Array = outputs[0].contiguous().numpy()
        return result

    def run_node(self, n: fx.Node) -> Any:
        """Compute a node and show it to whoever watches."""
        value = super().run_node(n)
        return self.watch(n, value) if self.watch is not None and isinstance(value, Tensor) else value
