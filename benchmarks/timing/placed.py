"""Where the operators of a session's model run, and which of it was not asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...runtime.errors import TargetUnavailableError
from ...runtime.photo import Array
from ...runtime.sessions import Session

RUNS = 5
"""Runs that shares of the time are taken from."""


def placement_of(
    session: Session, inputs: Mapping[str, Array], allowed: Sequence[str] = ()
) -> dict[str, Any]:
    """Return what a profile says of the placement; ``allowed`` names the fallbacks that are no problem.

    ``{"placement": {"source", "places", "summary", "allowed", "problems"}}``, or ``{"placement": None,
    "placement_absent": why}``.
    """
    try:
        placement = session.placement(inputs, RUNS)
    except TargetUnavailableError as error:
        return {"placement": None, "placement_absent": str(error)}
    facts = {
        **placement.to_dict(),
        "summary": placement.line(),
        "allowed": list(allowed),
        "problems": placement.problems(allowed),
    }
    return {"placement": facts}
