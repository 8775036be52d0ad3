"""A reference that computes each sample once, however many artifacts are held against it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...runtime.photo import Array
from .parity import ReferenceCall

LARGEST_KEPT = 1 << 28
"""Bytes of results that are kept; those of further samples are computed each time."""


class KeptReference:
    """Wraps a reference, and keeps its results for arrays by name that it has seen.

    Every artifact is held against the same samples, in float32 and in float64. Samples are known by the
    object that holds them, which is to stay as it is.
    """

    def __init__(self, reference: ReferenceCall, largest: int = LARGEST_KEPT) -> None:
        """Take a reference; ``largest`` bounds what is kept, in bytes."""
        self._reference = reference
        self._largest = largest
        self._bytes = 0
        self._kept: dict[tuple[int, str], tuple[Mapping[str, Array], dict[str, Array]]] = {}

    @property
    def float64_problem(self) -> str:
        """Why float32 stands in for float64; empty where it does not."""
        return str(getattr(self._reference, "float64_problem", ""))

    def __call__(self, x: Mapping[str, Array], arithmetic: Any = "float32") -> dict[str, Array]:
        """Return the network's results by name, not to be written to; errors are those of the reference."""
        key = (id(x), arithmetic)
        if key in self._kept:
            return self._kept[key][1]
        results: dict[str, Array] = self._reference(x, arithmetic)
        size = sum(array.nbytes for array in results.values())
        if self._bytes + size <= self._largest:
            self._bytes += size
            self._kept[key] = (x, results)  # x too: another object could get its id
        return results
