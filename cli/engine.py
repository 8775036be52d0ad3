"""The options that decide how a TensorRT engine is run, for the commands that measure one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer


@dataclass(frozen=True)
class EngineOptions:
    """What is not given is the session's own choice; a target without such an option refuses it by name."""

    cuda_graph: Annotated[
        bool, typer.Option("--cuda-graph", help="Launch a TensorRT engine as one CUDA graph.")
    ] = False
    waiting: Annotated[
        str | None,
        typer.Option("--wait", metavar="HOW", help="How to wait for the GPU: spin, yield, blocking, auto."),
    ] = None
    mapped: Annotated[
        bool | None,
        typer.Option("--mapped/--no-mapped", help="Work on host memory where the GPU shares it."),
    ] = None

    def given(self) -> dict[str, Any]:
        """Return what was given, as :func:`fdikp_edge.runtime.sessions.open_session` takes it."""
        wanted = {"cuda_graph": self.cuda_graph or None, "waiting": self.waiting, "mapped": self.mapped}
        return {name: value for name, value in wanted.items() if value is not None}

    def words(self) -> list[str]:
        """Return what was given as words of a command line."""
        words = ["--cuda-graph"] if self.cuda_graph else []
        words += [] if self.waiting is None else [f"--wait={self.waiting}"]
        return words + ([] if self.mapped is None else ["--mapped" if self.mapped else "--no-mapped"])
