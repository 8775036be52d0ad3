"""``fdikp-edge setup``: make the environment of a converter that cannot share this one."""

from __future__ import annotations

from typing import Annotated

import typer

from .. import show
from ..options import JsonOption


def setup(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Environment to make: litert.")],
    *,
    again: Annotated[
        bool, typer.Option("--again", help="Make it anew, also if it is there already.")
    ] = False,
    json: JsonOption = False,
) -> int:
    """Make the Python environment that a converter needs.

    Some converters need packages that do not go with this installation. They get an environment of their own
    in the user's cache folder, with pinned versions, and builders run them there. Packages come through pip
    and its settings.
    """
    with show.working(f"making the environment {name}", slow=True) as step:
        from ...export.setup.environment import make
        from ...export.setup.table import get_environment

        row = get_environment(name)
        folder = make(row, step, again=again)
    facts = {"name": row.name, **row.facts(), "folder": str(folder)}
    if json:
        show.as_json(facts)
    else:
        show.facts(f"Environment {name}", list(facts.items()))
    return 0
