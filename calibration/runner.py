"""Runs a program node by node, so that somebody can look at, or change, what each node computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from ..runtime.errors import CalibrationError
from ..runtime.photo import Array
from ..runtime.pixels import psnr_db
from .layers import stored_tensors

Feed = Array | Sequence[Array]
"""The inputs of a program in order; the array itself where there is one."""
Watch = Callable[[fx.Node, Any], Any]
"""Told each node and its value; what it returns takes the value's place."""


class Runner(fx.Interpreter):
    """Runs a program; node names are those of ``program.graph``."""

    def __init__(self, program: ExportedProgram, watch: Watch | None = None) -> None:
        """Hold the program; ``watch`` sees every value of a call."""
        super().__init__(program.graph_module, garbage_collect_values=True)
        self.extra_traceback = False
        self.stored = stored_tensors(program)
        self.watch = watch

    def __call__(self, feed: Feed) -> Array:
        """Return the output of a program that has one."""
        self.start(feed)
        return self.finish(self.graph.nodes)

    def outputs(self, feed: Feed) -> list[Array]:
        """Return all outputs."""
        self.start(feed)
        return self.results(self.graph.nodes)

    def start(self, feed: Feed) -> None:
        """Get ready to compute the nodes for one set of inputs."""
        arrays = [feed] if isinstance(feed, np.ndarray) else feed
        given = iter([torch.from_numpy(np.ascontiguousarray(array)) for array in arrays])
        placeholders = [node for node in self.graph.nodes if node.op == "placeholder"]
        self.args_iter = iter(
            [self.stored[n.name] if n.name in self.stored else next(given) for n in placeholders]
        )
        self.env: dict[fx.Node, Any] = {}

    def step(self, node: fx.Node) -> None:
        """Compute one node, and let go of what no later one reads."""
        with torch.no_grad():
            self.env[node] = self.run_node(node)
        for dead in self.user_to_last_uses.get(node, ()):
            self.env.pop(dead, None)

    def finish(self, nodes: Iterable[fx.Node]) -> Array:
        """Compute the nodes that are left and return the only output."""
        outputs = self.results(nodes)
        if len(outputs) != 1:
            raise CalibrationError(f"expected a program with one output; this one has {len(outputs)}")
        return outputs[0]

    def results(self, nodes: Iterable[fx.Node]) -> list[Array]:
        """Compute the nodes that are left and return the outputs."""
        for node in nodes:
            self.step(node)
        return [output.contiguous().numpy() for output in self.env[node]]

    def run_node(self, n: fx.Node) -> Any:
        """Compute a node and show it to whoever watches."""
        value = super().run_node(n)
        return self.watch(n, value) if self.watch is not None and isinstance(value, Tensor) else value


def closeness_db(actual: Sequence[Array], expected: Sequence[Array], *, pictures: bool) -> float:
    """Return the PSNR of outputs against those in floats, the lowest of several.

    White is 1 (255 for bytes) for ``pictures``; for other tensors it is the largest magnitude expected.
    """
    return min(_closeness_db(*pair, pictures) for pair in zip(actual, expected, strict=True))


def _closeness_db(actual: Array, expected: Array, picture: bool) -> float:
    if picture or actual.dtype.kind != "f":
        return psnr_db(actual, expected)
    peak = float(np.abs(expected).max(initial=0.0)) or 1.0
    return psnr_db(actual / peak, expected / peak)
