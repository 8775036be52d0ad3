"""The environments that ``fdikp-edge setup`` makes; a target whose converter needs one adds its row here."""

from __future__ import annotations

from ...runtime.errors import UnknownNameError
from ..litert.environment import LITERT
from .environment import Environment

ENVIRONMENTS: dict[str, Environment] = {row.name: row for row in (LITERT,)}


def get_environment(name: str) -> Environment:
    """Return an environment by name.

    Raises:
        UnknownNameError: there is none of this name; lists those that exist.
    """
    if name not in ENVIRONMENTS:
        raise UnknownNameError(
            f"no environment is called {name!r}; expected one of: {', '.join(ENVIRONMENTS)}"
        )
    return ENVIRONMENTS[name]
