"""Bounds on a pickle, checked on its opcodes before anything in it is built.

``torch.load(weights_only=True)`` runs no code of a file, but a few hundred bytes can still make it build more
than fits in memory, or values that take years to hash or print: a tuple of two references to a tuple of two
references to ... This walks the opcodes with the stack effects that :mod:`pickletools` documents, and counts
how large each value is when it is written out in full.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Sequence

MAX_BYTES = 4 * 2**20
MAX_OPCODES = 1_000_000
MAX_VALUES = 4_000_000
"""Values in one object, each counted as often as the object refers to it."""

_CALLABLES = re.compile(
    r"collections\.(OrderedDict|Counter)|_codecs\.encode|(builtins|__builtin__)\.(set|complex)"
    r"|torch\.(Size|device|[A-Za-z0-9]+Storage|[a-z][a-z0-9_]*)|torch\.serialization\._get_layout"
    r"|torch\.storage\.(Untyped|Typed)Storage|torch\.nn\.parameter\.Parameter"
    r"|torch\._utils\._rebuild_(tensor|tensor_v2|parameter|parameter_with_state|sparse_tensor)"
)
_CHANGES_ITS_FIRST = {"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"}
_MEMO_PUT = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}
_MEMO_GET = {"GET", "BINGET", "LONG_BINGET"}
_MARK = None


class _Value:
    """How many values one object holds; shared by all that refer to it."""

    __slots__ = ("values",)

    def __init__(self, values: int) -> None:
        self.values = values


def check_pickle(data: bytes) -> None:
    """Check that loading a pickle of tensors takes time and memory in proportion to its size.

    Raises:
        ValueError: it is damaged, larger than the bounds, or calls something that no file of tensors needs.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f"its table of contents has {len(data)} bytes; at most {MAX_BYTES} are read")
    stack: list[_Value | None] = []
    memo: dict[int, _Value] = {}
    for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        if count > MAX_OPCODES:
            raise ValueError(f"more than {MAX_OPCODES} instructions")
        if opcode.name in _MEMO_PUT:
            memo[len(memo) if argument is None else argument] = _top(stack)
        elif opcode.name in _MEMO_GET:
            if argument not in memo:
                raise ValueError("it refers to a value that is not there")
            stack.append(memo[argument])
        elif opcode.name in ("GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX"):
            name = str(argument).replace(" ", ".")
            if opcode.name != "GLOBAL" or not _CALLABLES.fullmatch(name):
                raise ValueError(
                    f"it uses {name if argument else opcode.name}, which no file of tensors needs"
                )
            stack.append(_Value(1))
        else:
            _apply(opcode, stack)
    if stack:
        raise ValueError("it leaves values that nothing uses")


def _apply(opcode: pickletools.OpcodeInfo, stack: list[_Value | None]) -> None:
    """Take off the stack what an opcode takes, and put on what it makes."""
    before, after = opcode.stack_before, opcode.stack_after
    taken: list[_Value] = []
    if pickletools.markobject in before:
        while (value := _pop(stack)) is not _MARK:
            taken.append(value)
        before = before[: before.index(pickletools.markobject)]
    for _ in before:
        value = _pop(stack)
        if value is _MARK:
            raise ValueError("its stack is damaged")
        taken.append(value)
    size = 1 + sum(value.values for value in taken)
    if size > MAX_VALUES:
        raise ValueError(f"one object in it holds more than {MAX_VALUES} values when written out")
    if opcode.name in _CHANGES_ITS_FIRST:
        taken[-1].values = size
        stack.append(taken[-1])
    else:
        stack.extend(_MARK if kind is pickletools.markobject else _Value(size) for kind in after)


def _pop(stack: list[_Value | None]) -> _Value | None:
    if not stack:
        raise ValueError("its stack is damaged")
    return stack.pop()


def _top(stack: Sequence[_Value | None]) -> _Value:
    value = stack[-1] if stack else _MARK
    if value is _MARK:
        raise ValueError("its stack is damaged")
    return value
