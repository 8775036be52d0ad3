"""What is refused among the words of a command line before a command sees them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperGroup

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def _path_options(command: Any) -> Iterator[str]:
    """Yield each option that takes a path, of a command and of those below it."""
    for parameter in command.params:
        if parameter.param_type_name == "option" and parameter.metavar in ("PATH", "DIR", "FILE"):
            yield from parameter.opts
    for below in getattr(command, "commands", {}).values():
        yield from _path_options(below)


class Commands(TyperGroup):
    """The commands, none of which takes an empty word: as a path it would mean the current folder.

    Nor does an option take a path that a passport could not hold. Photos as arguments may have any name.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse words.

        Raises:
            typer.BadParameter: one is empty, as an unset shell variable leaves it, or no path for a passport.
        """
        paths = {"--model", "-m", *_path_options(self)}
        for place, word in enumerate(args):
            before = args[place - 1] if place else ""
            if not word.strip() or (word.startswith("--") and word.endswith("=")):
                name = word.strip().rstrip("=") or (before if before.startswith("-") else "")
                raise typer.BadParameter(f"an empty value{name and f' for {name}'}; give one", ctx)
            option, equals, value = word.partition("=")
            option, value = (option, value) if equals and option in paths else (before, word)
            if option in paths and _UNPRINTABLE.search(value):
                raise typer.BadParameter(
                    f"{option} {value!r:.200}: holds control characters or bytes that are not UTF-8; "
                    "choose another name",
                    ctx,
                )
        return super().parse_args(ctx, args)
