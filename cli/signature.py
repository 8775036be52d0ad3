"""``--require-signature``: a command that opens no artifact but those that the owner of a key signed."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

_Option = Annotated[
    Path | None,
    typer.Option(
        "--require-signature",
        metavar="KEY",
        help="Public key, as keygen writes it; refuse artifacts that its owner did not sign.",
        show_default="signatures are not checked",
    ),
]
_NAME = "require_signature"


def checks_signatures(command: Callable[..., int]) -> Callable[..., int]:
    """Return a command with the option ``--require-signature``, which runs under that requirement."""
    # Not typing.get_type_hints: on Python 3.10 it hides the annotation of what has None as its default.
    hints = inspect.get_annotations(command, eval_str=True)

    @functools.wraps(command)
    def wrapper(**given: Any) -> int:
        key: Path | None = given.pop(_NAME, None)
        if key is None:
            return command(**given)
        from ..runtime.trust.keys import read_public
        from ..runtime.trust.signature import required

        with required(read_public(key)):
            return command(**given)

    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        parameter.replace(kind=keyword, annotation=hints[name])
        for name, parameter in inspect.signature(command).parameters.items()
    ]
    option = inspect.Parameter(_NAME, keyword, default=None, annotation=_Option)
    last = next((i for i, parameter in enumerate(parameters) if parameter.name == "json"), len(parameters))
    parameters.insert(last, option)
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters} | {
        "return": int
    }
    return wrapper
