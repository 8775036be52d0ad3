"""From the options that name a network to its source. Code is imported only because the user typed its name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..runtime.errors import BadInputError

if TYPE_CHECKING:
    from ..models.sources.base import NetworkSource


def find_source(
    model: str,
    arguments: Sequence[str],
    weights: Path | None,
    inputs: Sequence[str],
    samples: Path | None,
    seed: int | None,
    metric: str | None,
) -> NetworkSource:
    """Return the network that a command line names; see :func:`fdikp_edge.models.sources.find.find`.

    Raises:
        BadInputError: an argument without a name.
    """
    from ..models.sources.declared import parse_input
    from ..models.sources.find import find

    return find(
        model,
        arguments=dict(_argument(text) for text in arguments),
        weights=weights,
        inputs=[parse_input(text) for text in inputs],
        samples=samples,
        seed=seed,
        metric=metric,
    )


def _argument(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise BadInputError(f"--model-arg {text!r} is not KEY=VALUE; write for example --model-arg width=32")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value  # a bare word
