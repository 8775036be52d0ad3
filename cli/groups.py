"""Option groups: a dataclass of options that a command takes as one parameter and users see one by one."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any


def spread(command: Callable[..., int]) -> Callable[..., int]:
    """Return a command that takes the fields of its option groups as parameters of their own.

    A group is a parameter whose type is a dataclass. Its fields stand where the group stands, and the command
    receives the group. Typer sees only the fields.
    """
    # Not typing.get_type_hints: on Python 3.10 it hides the annotation of what has None as its default.
    hints = inspect.get_annotations(command, eval_str=True)
    signature = inspect.signature(command)
    groups: dict[str, Any] = {name: kind for name, kind in hints.items() if dataclasses.is_dataclass(kind)}
    members = {name: [field.name for field in dataclasses.fields(kind)] for name, kind in groups.items()}
    parameters = []
    for name, parameter in signature.parameters.items():
        if name not in groups:
            parameters.append((name, parameter.default, hints[name]))
            continue
        fields = inspect.get_annotations(groups[name], eval_str=True)
        parameters += [(f.name, _default(f), fields[f.name]) for f in dataclasses.fields(groups[name])]

    @functools.wraps(command)
    def wrapper(**given: Any) -> int:
        held = {name: groups[name](**{key: given.pop(key) for key in members[name]}) for name in groups}
        return command(**held, **given)

    keyword = inspect.Parameter.KEYWORD_ONLY
    wrapper.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(name, keyword, default=default, annotation=kind)
            for name, default, kind in parameters
        ]
    )
    wrapper.__annotations__ = {name: kind for name, _, kind in parameters} | {"return": int}
    return wrapper


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default
