"""What a user typed, as resolvers are given it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...runtime.errors import SourceError
from .base import NetworkSource, TensorSpec


@dataclass(frozen=True)
class Request:
    """What a user typed: ``--model``, and the options that belong to it.

    Attributes:
        spec: the text after ``--model``.
        arguments: of ``--model-arg``: for the class or factory.
        weights: of ``--weights``: a file of weights for the network.
        inputs: of ``--input``.
        seed: of ``--seed``: for initial weights.
    """

    spec: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    weights: Path | None = None
    inputs: tuple[TensorSpec, ...] = ()
    seed: int | None = None

    def refuse(self, *, arguments: str = "", weights: str = "", seed: str = "") -> None:
        """Refuse options that mean nothing here; each text given says why.

        Raises:
            SourceError: one of them was typed.
        """
        if arguments and self.arguments:
            name = next(iter(self.arguments))
            raise SourceError(f"{self.spec}: --model-arg {name} means nothing here: {arguments}")
        if weights and self.weights is not None:
            raise SourceError(f"{self.spec}: --weights means nothing here: {weights}")
        if seed and self.seed is not None:
            raise SourceError(f"{self.spec}: --seed means nothing here: {seed}")


Resolver = Callable[[Request], NetworkSource]
"""Finds the source of one kind of spec. It raises typed errors only."""
