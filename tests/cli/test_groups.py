"""Option groups: users see single options, commands receive the group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from fdikp_edge.cli.groups import spread
from typer.testing import CliRunner


@dataclass(frozen=True)
class Place:
    height: Annotated[int, typer.Option("--height", "-y", min=0, help="Metres.")] = 3
    name: Annotated[str | None, typer.Option(help="What it is called.")] = None


@spread
def visit(
    *,
    guests: Annotated[list[str] | None, typer.Argument()] = None,
    place: Place,
    again: Annotated[bool, typer.Option("--again")] = False,
) -> int:
    """Visit a place."""
    print(guests, place, again)
    return 0


app = typer.Typer(rich_markup_mode=None)
app.command()(visit)


@pytest.mark.parametrize(
    ("words", "place", "again"),
    [
        ([], Place(), False),
        (["-y", "7", "--again"], Place(7), True),
        (["--name", "hill", "--height", "0"], Place(0, "hill"), False),
    ],
)
def test_fields_are_options_and_the_command_gets_the_group(
    words: list[str], place: Place, again: bool
) -> None:
    done = CliRunner().invoke(app, ["ann", *words])
    assert done.exit_code == 0, done.output
    assert done.output.strip() == f"['ann'] {place} {again}"


def test_limits_and_help_of_a_field_are_kept_in_the_order_of_the_command() -> None:
    assert CliRunner().invoke(app, ["--height", "-1"]).exit_code == 2
    text = CliRunner().invoke(app, ["--help"]).output
    assert "Visit a place." in text and "Metres." in text and "--place" not in text
    assert text.index("--height") < text.index("--name") < text.index("--again")
