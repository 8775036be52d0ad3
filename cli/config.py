"""Defaults of options from a file: ``fdikp-edge.toml``, or ``[tool.fdikp-edge]`` in ``pyproject.toml``.

Keys are the names of options without the dashes. A key at the top counts for every command that has the
option; a table with the name of a command counts for that command, before those at the top. What is typed
counts before both.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..runtime.errors import BadInputError
from ..runtime.strict_json import printable

FILE = "fdikp-edge.toml"
PROJECT = "pyproject.toml"
MAX_BYTES = 1 << 20

_CODE = {"model": "code", "metric": "code", "ray": "a cluster"}
"""Options whose value may name code that is then run, or machines: what the nodes of a cluster send is run,
and they get photos and artifact."""


def read_config(asked: Path | None, commands: Mapping[str, Any]) -> tuple[Path | None, dict[str, Any]]:
    """Return the file and the defaults it gives, by command and parameter, as Click's ``default_map``.

    Args:
        asked: a file that the user named; ``None`` to look in the current folder.
        commands: the commands by name, as Click has them.

    Raises:
        BadInputError: no such file, no TOML, an option that no command has, or a file that nobody named
            names code or sets ``overwrite``.
    """
    path, settings = _settings(asked)
    if path is None:
        return None, {}
    known = {
        name: dict(_options(command)) for name, command in commands.items() if hasattr(command, "params")
    }
    defaults: dict[str, dict[str, Any]] = {name: {} for name in known}
    tables = {key: value for key, value in settings.items() if isinstance(value, dict)}
    for key, value in settings.items():
        if key not in tables:
            _set_for_all(path, key, value, known, defaults)
    for name, table in tables.items():
        if name not in known:
            raise BadInputError(f"{path}: no command {name!r:.80}; the commands: {', '.join(sorted(known))}")
        for key, value in table.items():
            if key not in known[name]:
                raise BadInputError(
                    f"{path}: {name} has no option {key!r:.80}; its options: {', '.join(sorted(known[name]))}"
                )
            defaults[name][known[name][key]] = _value(path, f"{name}.{key}", value)
    if asked is None:
        _refuse_code(path, defaults)
    return path, {name: values for name, values in defaults.items() if values}


def _set_for_all(
    path: Path,
    key: str,
    value: Any,
    known: Mapping[str, Mapping[str, str]],
    defaults: dict[str, dict[str, Any]],
) -> None:
    takers = [name for name, options in known.items() if key in options]
    if not takers:
        raise BadInputError(f"{path}: no command has an option {key!r:.80}")
    for name in takers:
        defaults[name][known[name][key]] = _value(path, key, value)


def _options(command: Any) -> Iterator[tuple[str, str]]:
    """Yield each option of a command as it is typed, without dashes, and the name of its parameter."""
    for parameter in command.params:
        for option in parameter.opts:
            if option.startswith("--") and option != "--help":
                yield option[2:], parameter.name


def _value(path: Path, key: str, value: Any) -> Any:
    plain = (str, int, float, bool)
    if isinstance(value, plain) or (isinstance(value, list) and all(isinstance(v, plain) for v in value)):
        return value
    raise BadInputError(
        f"{path}: {printable(key)}: expected a text, a number, true, false, or a list of them"
    )


def _refuse_code(path: Path, defaults: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse values that name code or replace files: a folder somebody else made must do neither because one
    works in it."""
    for name, values in defaults.items():
        if values.get("overwrite"):
            raise BadInputError(
                f"{path}: overwrite of {name} replaces files, which a file may only do if it is named: "
                f"fdikp-edge --config {path} {name} ..."
            )
        for option, what in _CODE.items():
            value = values.get(option)
            if value is not None and (option == "ray" or ":" in str(value)):
                raise BadInputError(
                    f"{path}: {option} of {name} names {what}, which a file "
                    f"may only do if it is named: fdikp-edge --config {path} {name} ..."
                )


def _settings(asked: Path | None) -> tuple[Path | None, dict[str, Any]]:
    if asked is not None:
        content = _parse(asked)
        return asked, _section(asked, content) if asked.name == PROJECT else content
    if Path(FILE).exists():
        return Path(FILE), _parse(Path(FILE))
    project = Path(PROJECT)
    if not project.is_file() or b"fdikp-edge" not in _read(project):
        return None, {}  # another project's; whether it is well formed is not for us to say
    section = _section(project, _parse(project))
    return (project, section) if section else (None, {})


def _section(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    tool = content.get("tool")
    section = tool.get("fdikp-edge", {}) if isinstance(tool, dict) else {}
    if not isinstance(section, dict):
        raise BadInputError(f"{path}: tool.fdikp-edge: expected a table")
    return section


def _parse(path: Path) -> dict[str, Any]:
    toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        content: dict[str, Any] = toml.loads(_read(path).decode("utf-8"))
        return content
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{path}: no valid TOML: {error}") from error


def _read(path: Path) -> bytes:
    from ..runtime.outside.files import read_bounded

    return read_bounded(path, MAX_BYTES)
