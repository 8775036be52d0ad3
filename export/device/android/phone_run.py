"""How a program on a phone runs one model. A target says it in a function of its own (``Target.devices``)."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ....runtime.artifact import Artifact


@dataclass(frozen=True)
class PhoneLog:
    """How ``compare.py`` reads times from what the program printed.

    Both patterns are regular expressions with one group, a number of ``milliseconds`` each (0.001 for
    microseconds). The latency is the mean of what ``times`` matches after the first ``warmup`` matches.
    """

    times: str
    first: str
    milliseconds: float
    warmup: int = 0


@dataclass(frozen=True)
class PhoneRun:
    """How ``measure.sh`` runs one model.

    ``tool`` is the program, whose place on the PC is in the variable of this name in capital letters.
    ``command`` is for the phone's shell, in the folder of the model's files: ``$TOOL`` is the program there,
    ``$THREADS`` and ``$RUNS`` are numbers, ``input_0.bin`` and so on hold the inputs as plain values. The
    command's exit status is the program's. ``outputs`` are the files it writes, whose bytes one after the
    other are the outputs of the contract.
    """

    tool: str
    command: str
    outputs: tuple[str, ...]
    log: PhoneLog


Opener = Callable[["Artifact"], PhoneRun]
"""What :attr:`~fdikp_edge.export.target.Target.devices` names for a device that runs artifacts as they are.

Raises:
    ArtifactError: the model is damaged.
    BadInputError: no program on such a device runs it.
"""


def words(arguments: Sequence[str]) -> str:
    """Return arguments quoted for the phone's shell, on one line whatever is in them."""
    return " ".join(shlex.quote(" ".join(word.split())) for word in arguments)


def input_file(number: int) -> str:
    """Return the name of the file with the values of one input."""
    return f"input_{number}.bin"
