"""What is refused among the words of a command line before a command sees them."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup


class Commands(TyperGroup):
    """The commands, none of which takes an empty word: as a path it would mean the current folder."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse words.

        Raises:
            typer.BadParameter: one is empty, as an unset shell variable leaves it.
        """
        for place, word in enumerate(args):
            before = args[place - 1] if place else ""
            if not word.strip() or (word.startswith("--") and word.endswith("=")):
                name = word.strip().rstrip("=") or (before if before.startswith("-") else "")
                raise typer.BadParameter(f"an empty value{name and f' for {name}'}; give one", ctx)
        return super().parse_args(ctx, args)
