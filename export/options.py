"""What a user may set about a target."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..calibration.levels import LEVELS, REDUCED_LEVELS
from ..runtime.errors import BadInputError
from .profile import Profile


@dataclass(frozen=True)
class Option:
    """An option of a target: its default, the pattern of a value, and a description.

    ``profiles`` maps values to cost profiles, for those that ask for another program. ``offered`` are the
    only values there are, one or several of them by comma; empty if the form says all.
    """

    default: str
    pattern: str
    about: str
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    offered: tuple[str, ...] = ()
    instead_of_probe: bool = False
    """Whether a value other than the default brings what the target's ``build_probe`` looks for."""


WEIGHTS = Option(
    "8bit",
    "8bit|7bit",
    "int8 weights; 7bit: exact sums on x86 processors without VNNI too, for less than 1 dB of parity",
)
"""The option ``weights`` of targets whose int8 files may hold weights of 7 bits."""
_LEVELS = {"8bit": LEVELS, "7bit": REDUCED_LEVELS}


def weight_levels(options: Mapping[str, str] | None) -> int:
    """Return the largest 8-bit value of a weight that the options of a target ask for."""
    return _LEVELS[(options or {}).get("weights", "8bit")]


def read_options(target: str, text: str, offered: Mapping[str, Option]) -> dict[str, str]:
    """Return the options of ``target`` with those set in ``text``: ``name=value``, several by semicolon.

    Raises:
            BadInputError: an option the target does not have, a malformed value, or a value that is not
            allowed; the message lists the options.
    """
    values = {name: option.default for name, option in offered.items()}
    for part in filter(None, text.split(";")):
        name, _, value = part.partition("=")
        option = offered.get(name.strip())
        if option is None or not re.fullmatch(option.pattern, value.strip()):
            known = "; ".join(f"{n}={o.default} ({o.about})" for n, o in offered.items())
            raise BadInputError(
                f"target {target} has no option {part.strip()!r:.60}; "
                + (f"its options: {known}" if known else "it has none")
            )
        strange = [entry for entry in value.strip().split(",") if entry not in option.offered]
        if option.offered and strange:
            raise BadInputError(
                f"target {target}: {name.strip()}: {', '.join(strange)} is not allowed; "
                f"expected: {', '.join(option.offered)}"
            )
        values[name.strip()] = value.strip()
    return values
