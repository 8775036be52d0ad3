"""``lab.yaml``: which bundle runs on which boards. A file from outside: plain data, bounded, checked.

Only scalars, lists and mappings are read; YAML's tags, anchors and aliases are refused, and so is a key that
nobody knows. Words that become part of a command line have to match a pattern.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...runtime.errors import BadInputError, TargetUnavailableError
from ...runtime.outside.files import read_bounded
from ..timing.protocol import SETTINGS, Protocol

MAX_BYTES = 1 << 18
MAX_DEPTH = 6
MAX_VALUES = 5000
MAX_BOARDS = 64
INSTALL = 'pip install "fdikp-edge[lab]"'

BUILD = ("required", "if-possible", "never")
"""Whether a board must have TensorRT engines; without any, ONNX Runtime runs the artifacts there."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,252}|[0-9a-fA-F:.]{2,45}")
_SSH = re.compile(
    r"(?:(?P<user>[^@]{1,40})@)?(?P<host>[^@:\[\]]{1,260}|\[[^\]]{2,60}\])(?::(?P<port>[0-9]{1,5}))?"
)
_PATH = re.compile(r"(?!-)[A-Za-z0-9_./+-]{1,200}")
_TAG = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_COORDINATOR = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,252}(:[0-9]{1,5})?")
_BOARD_KEYS = ("name", "ssh", "tags", "python", "folder", "build")
_KEYS = ("bundle", "boards", "coordinator", "profile", "minutes", "wait_minutes")


@dataclass(frozen=True)
class Place:
    """Where a board answers to SSH. ``port`` and ``user`` are SSH's own choice where they are ``None``."""

    host: str
    port: int | None = None
    user: str | None = None

    def __str__(self) -> str:
        """Return it as ``user@host:port``."""
        return (f"{self.user}@" if self.user else "") + self.host + (f":{self.port}" if self.port else "")


@dataclass(frozen=True)
class Board:
    """A board: at a place, or any place of labgrid that has all ``tags``."""

    name: str
    place: Place | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    python: str = "python3"
    folder: str = "fdikp-edge-lab"
    """On the board, relative to the user's home."""
    build: str = BUILD[0]


@dataclass(frozen=True)
class LabPlan:
    """What ``lab.yaml`` says."""

    bundle: Path
    boards: tuple[Board, ...]
    coordinator: str | None = None
    """Of labgrid, ``HOST[:PORT]``."""
    profile: Mapping[str, float] = field(default_factory=dict)
    """Options of ``profile`` and their values."""
    minutes: float = 120.0
    """The most that one step may take on a board."""
    wait_minutes: float = 60.0
    """The most to wait for a place of labgrid."""


def read_plan(file: Path) -> LabPlan:
    """Return the plan in a file; the bundle's path is relative to the file.

    Raises:
        BadInputError: it cannot be read, is larger than 256 kB, is no plain YAML, or a value is not what it
            should be; the message names the key.
        TargetUnavailableError: PyYAML is not installed.
    """
    return _plan(file, _parse(file, read_bounded(file, MAX_BYTES)))


def _plan(file: Path, value: Any) -> LabPlan:
    top = _mapping(file, "", value, _KEYS)
    boards = top.get("boards")
    if not isinstance(boards, list) or not 1 <= len(boards) <= MAX_BOARDS:
        raise BadInputError(f"{file}: boards: expected a list of 1 to {MAX_BOARDS} boards")
    plan = LabPlan(
        bundle=file.parent / _text(file, "bundle", top.get("bundle"), None),
        boards=tuple(_board(file, f"boards[{number}]", entry) for number, entry in enumerate(boards)),
        coordinator=_text(file, "coordinator", top["coordinator"], _COORDINATOR)
        if "coordinator" in top
        else None,
        profile=_profile(file, top.get("profile", {})),
        minutes=_number(file, "minutes", top.get("minutes", LabPlan.minutes), 0.05, 10_000),
        wait_minutes=_number(file, "wait_minutes", top.get("wait_minutes", LabPlan.wait_minutes), 0, 10_000),
    )
    names = [board.name.casefold() for board in plan.boards]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise BadInputError(f"{file}: boards: two are called {repeated}")
    if plan.coordinator is None and (tagged := next((b.name for b in plan.boards if b.tags), None)):
        raise BadInputError(f"{file}: board {tagged} has tags, and no coordinator of labgrid is named")
    return plan


def _board(file: Path, where: str, entry: Any) -> Board:
    held = _mapping(file, where, entry, _BOARD_KEYS)
    if ("ssh" in held) == ("tags" in held):
        raise BadInputError(f"{file}: {where}: give ssh (user@host:port) or tags of labgrid, one of the two")
    folder = _text(file, f"{where}.folder", held.get("folder", Board.folder), _PATH)
    if ".." in folder.split("/"):
        raise BadInputError(f"{file}: {where}.folder: has .. in it")
    build = held.get("build", Board.build)
    if build not in BUILD:
        raise BadInputError(f"{file}: {where}.build: {build!r:.40}: expected one of {', '.join(BUILD)}")
    return Board(
        name=_text(file, f"{where}.name", held.get("name"), _NAME),
        place=_place(file, f"{where}.ssh", held["ssh"]) if "ssh" in held else None,
        tags=_tags(file, f"{where}.tags", held["tags"]) if "tags" in held else {},
        python=_text(file, f"{where}.python", held.get("python", Board.python), _PATH),
        folder=folder,
        build=build,
    )


def _place(file: Path, where: str, value: Any) -> Place:
    match = _SSH.fullmatch(_text(file, where, value, None))
    if match is None:
        raise BadInputError(f"{file}: {where}: {value!r:.80}: expected user@host:port, or less of it")
    port = match["port"] and int(match["port"])
    return make_place(f"{file}: {where}", match["host"].strip("[]"), port, match["user"])


def make_place(where: str, host: Any, port: Any, user: Any) -> Place:
    """Return a place from what somebody says of it; ``where`` begins the message of an error.

    Raises:
        BadInputError: host or user are no plain words, or the port is no number from 1 to 65535.
    """
    if not isinstance(host, str) or not _HOST.fullmatch(host):
        raise BadInputError(f"{where}: {host!r:.80} is no host")
    if user is not None and not (isinstance(user, str) and _USER.fullmatch(user)):
        raise BadInputError(f"{where}: {user!r:.80} is no user")
    if port is not None and not (type(port) is int and 1 <= port <= 65535):
        raise BadInputError(f"{where}: port {port!r:.20}: expected 1 to 65535")
    return Place(host, port, user)


def _tags(file: Path, where: str, value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not 1 <= len(value) <= 16:
        raise BadInputError(f"{file}: {where}: expected 1 to 16 tags, such as board: orin-nx")
    return {
        _text(file, where, key, _TAG): _text(file, f"{where}.{key}", text, _TAG)
        for key, text in value.items()
    }


def _profile(file: Path, value: Any) -> dict[str, float]:
    options = {setting.option: (name, setting) for name, setting in SETTINGS.items()}
    given = {}
    for option, number in _mapping(file, "profile", value, tuple(options)).items():
        name, setting = options[option]
        given[option] = _number(file, f"profile.{option}", number, setting.least, setting.most)
        if isinstance(getattr(Protocol(), name), int) and not isinstance(number, int):
            raise BadInputError(f"{file}: profile.{option}: {number}: expected a whole number")
    return given


def _mapping(file: Path, where: str, value: Any, keys: Sequence[str]) -> dict[str, Any]:
    at = f"{where}: " if where else ""
    if not isinstance(value, dict):
        raise BadInputError(f"{file}: {at}expected keys and values")
    if unknown := [key for key in value if key not in keys]:
        raise BadInputError(f"{file}: {at}no key {unknown[0]!r:.40}; there are: {', '.join(keys)}")
    return value


def _text(file: Path, where: str, value: Any, pattern: re.Pattern[str] | None) -> str:
    if not isinstance(value, str) or not value or not value.isprintable() or len(value) > 1000:
        raise BadInputError(f"{file}: {where}: expected text, got {value!r:.40}")
    if pattern is not None and not pattern.fullmatch(value):
        raise BadInputError(f"{file}: {where}: {value!r:.80} is not of the form that is needed there")
    return value


def _number(file: Path, where: str, value: Any, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise BadInputError(f"{file}: {where}: {value!r:.40}: expected a number from {least:,} to {most:,}")
    return value


def _parse(file: Path, data: bytes) -> Any:
    """Return what is in YAML of plain values.

    Raises:
        BadInputError: it is no such YAML.
    """
    try:
        yaml: Any = importlib.import_module("yaml")
    except ModuleNotFoundError as error:
        raise TargetUnavailableError(f"{file}: PyYAML is not installed, which reads it: {INSTALL}") from error

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        """Refuses a key that appears twice, of which YAML would take the last."""

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            if not all(isinstance(key, str) for key in keys):
                raise BadInputError(f"{file}: line {node.start_mark.line + 1}: keys have to be text")
            if repeated := next((key for key in keys if keys.count(key) > 1), None):
                raise BadInputError(f"{file}: {repeated:.40} appears twice")
            return super().construct_mapping(node, deep=deep)

    try:
        text = data.decode("utf-8")
        depth = 0
        # Looked at before anything is composed, which recurses and follows aliases.
        for number, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
            depth += {"MappingStart": 1, "SequenceStart": 1, "MappingEnd": -1, "SequenceEnd": -1}.get(
                type(event).__name__.removesuffix("Event"), 0
            )
            line = event.start_mark.line + 1
            if depth > MAX_DEPTH or number > MAX_VALUES:
                raise BadInputError(f"{file}: line {line}: nested too deeply, or too many values")
            if getattr(event, "anchor", None) or getattr(event, "tag", None):
                raise BadInputError(f"{file}: line {line}: tags, anchors and aliases are not read")
        return yaml.load(text, Loader=Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, BadInputError):
            raise
        raise BadInputError(f"{file}: is no YAML: {' '.join(str(error).split())[:300]}") from error
