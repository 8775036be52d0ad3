"""The command line that a run of :func:`fdikp_edge.benchmarks.deploy.deploy` amounts to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .mixed_precision import Bounds

FOLDER = "reproduced"
"""Where a command of a report writes: beside what it shall be compared with, not over it."""


@dataclass(frozen=True)
class Asked:
    """What a run was asked for, except for the targets and precisions, which differ from row to row.

    ``sizes`` are those asked for, none for a network that has one only. ``source`` is how the command line
    names the network, its seed and its table; without it there is no command, because nobody but the calling
    program knows where the network came from.
    """

    source: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    contract: str
    photo: str | Path | None
    threads: int
    min_samples: int
    max_seconds: float
    bounds: Bounds | None = None
    photo_pairs: str | Path | None = None

    def command(self, targets: Sequence[str], precisions: Sequence[str]) -> list[str]:
        """Return the words of the command for these targets and precisions; none without a source."""
        if not self.source:
            return []
        words = ["fdikp-edge", "deploy", *self.source]
        for option, names in (("--target", targets), ("--precision", precisions)):
            for value in dict.fromkeys(names):
                words += [option, value]
        for height, width in self.sizes:
            words += ["--size", f"{height}x{width}"]
        if self.contract != "float_nchw":
            words += ["--contract", self.contract.partition("_")[0]]
        if "int8" in precisions:  # elsewhere the command line refuses them
            for option in ("max_drop_db", "min_speedup"):
                if (bound := getattr(self.bounds, option, None)) is not None:
                    words += [f"--{option.replace('_', '-')}", f"{bound:g}"]
            if self.photo_pairs is not None:
                words += ["--pairs", str(self.photo_pairs)]
        if self.photo is not None:
            words += ["--photo", str(self.photo)]
        words += ["--threads", str(self.threads), "--runs", str(self.min_samples)]
        return [*words, "--seconds", f"{self.max_seconds:g}", "--out", FOLDER]
