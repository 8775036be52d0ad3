"""What a target needs to be installed, and what a user may set about it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..runtime.errors import BadInputError


@dataclass(frozen=True)
class Requirement:
    """A Python module a target needs.

    ``distribution`` is the name it installs under, ``minimum`` the oldest version that works, ``install``
    what to tell a user who lacks it.
    """

    module: str
    distribution: str
    minimum: str
    install: str

    def problem(self) -> str | None:
        """Say why the module cannot be used here, or ``None``. Looks it up without importing it."""
        if importlib.util.find_spec(self.module) is None:
            return f"{self.module} is not installed ({self.install})"
        try:
            version = importlib.metadata.version(self.distribution)
        except importlib.metadata.PackageNotFoundError:
            return None  # installed under another name, such as onnxruntime-gpu or a vendor's build
        if _numbers(version) < _numbers(self.minimum):
            return f"{self.module} {version} is older than {self.minimum} ({self.install})"
        return None


@dataclass(frozen=True)
class Option:
    """An option of a target: its default, the pattern of a value, and a description.

    ``profiles`` maps values to planner profiles, for those that ask for another program. ``offered`` are the
    only values there are, one or several of them by comma; empty if the form says all.
    """

    default: str
    pattern: str
    about: str
    profiles: Mapping[str, str] = field(default_factory=dict)
    offered: tuple[str, ...] = ()


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


def _numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: ``2.13.0+cpu`` -> (2, 13, 0)."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in match.group().split(".")) if match else ()
