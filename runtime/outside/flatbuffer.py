"""Read FlatBuffers without trusting them: enough to check a ``.tflite`` file before native code sees it.

FlatBuffers are read in place by following offsets, so a reader that does not check them reads outside of the
file. Here every offset is held against the file, every table against its own size, and their number against a
bound, because a small file may refer to one table many times. Format: the "FlatBuffer internals" page of the
FlatBuffers documentation.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass

Buffer = bytes | mmap.mmap
MAX_BYTES = 2**31 - 1
"""Offsets are of 32 bits, and those of a vtable signed."""
MAX_STEPS = 500_000
"""Tables and elements of lists that a file may make its reader look at."""

_NUMBERS = {"b": 1, "B": 1, "?": 1, "h": 2, "H": 2, "i": 4, "I": 4, "f": 4, "q": 8, "Q": 8}
"""Format of :mod:`struct` -> bytes."""


class Flatbuffer:
    """The bytes of a file, and how much of them was looked at."""

    def __init__(self, data: Buffer) -> None:
        """Keep the bytes.

        Raises:
            ValueError: too short or too long to be one.
        """
        if not 12 <= len(data) <= MAX_BYTES:
            raise ValueError(f"{len(data)} bytes are no such file")
        self.data = data
        self.steps = 0

    def root(self, identifier: bytes) -> Table:
        """Return the outermost table of a file with this identifier of four letters.

        Raises:
            ValueError: another identifier, or no sound table.
        """
        if bytes(self.data[4:8]) != identifier:
            raise ValueError(f"does not have the identifier {identifier.decode()}")
        return self.table(self.follow(0))

    def number(self, code: str, at: int) -> int:
        """Return the number at a place, which must be a multiple of its size and inside of the file."""
        size = _NUMBERS[code]
        if at < 0 or at % size or at + size > len(self.data):
            raise ValueError("refers to a place outside of the file, or between two values")
        value: int = struct.unpack_from("<" + code, self.data, at)[0]
        return value

    def follow(self, at: int) -> int:
        """Return the place that the offset at a place refers to: always one behind it."""
        distance = self.number("I", at)
        if not 4 <= distance <= len(self.data) - at - 4:
            raise ValueError("refers to a place outside of the file")
        return at + distance

    def count(self, steps: int) -> None:
        """Count what is looked at.

        Raises:
            ValueError: too much, as when a small file refers to one table over and over.
        """
        self.steps += steps
        if self.steps > MAX_STEPS:
            raise ValueError(f"has more than {MAX_STEPS} tables and values of lists")

    def table(self, at: int) -> Table:
        """Return the table at a place: its list of fields must lie in the file, its fields in the table."""
        self.count(1)
        fields = at - self.number("i", at)
        length, size = self.number("H", fields), self.number("H", fields + 2)
        if length < 4 or length % 2 or fields + length > len(self.data):
            raise ValueError("has a table whose list of fields does not lie in the file")
        if size < 4 or at + size > len(self.data):
            raise ValueError("has a table that does not lie in the file")
        slots = struct.unpack_from(f"<{length // 2 - 2}H", self.data, fields + 4)
        if any(slot and not 4 <= slot < size for slot in slots):
            raise ValueError("has a field outside of its table")
        return Table(self, at, size, slots)


@dataclass(frozen=True)
class Table:
    """A table of a file. Fields are asked for by number; one that is absent has its default."""

    file: Flatbuffer
    at: int
    size: int
    slots: tuple[int, ...]

    def has(self, field: int) -> bool:
        """Whether the field is there."""
        return field < len(self.slots) and self.slots[field] != 0

    def number(self, field: int, code: str, default: int = 0) -> int:
        """Return a number."""
        if not self.has(field):
            return default
        if self.slots[field] + _NUMBERS[code] > self.size:
            raise ValueError("has a field that reaches out of its table")
        return self.file.number(code, self.at + self.slots[field])

    def table(self, field: int) -> Table | None:
        """Return a table that the field refers to."""
        return self.file.table(self._follow(field)) if self.has(field) else None

    def tables(self, field: int) -> Iterator[Table]:
        """Yield the tables of a list."""
        start, count = self.span(field, 4)
        self.file.count(count)
        for index in range(count):
            yield self.file.table(self.file.follow(start + 4 * index))

    def numbers(self, field: int, code: str = "i") -> tuple[int, ...]:
        """Return a list of numbers."""
        start, count = self.span(field, _NUMBERS[code])
        self.file.count(count)
        numbers: tuple[int, ...] = struct.unpack_from(f"<{count}{code}", self.file.data, start)
        return numbers

    def span(self, field: int, size: int) -> tuple[int, int]:
        """Return where the values of a list of values of ``size`` bytes start, and how many there are.

        Nothing of the list is read.
        """
        if not self.has(field):
            return 0, 0
        place = self._follow(field)
        count, start = self.file.number("I", place), place + 4
        if start + count * size > len(self.file.data) or (count and start % min(size, 4)):
            raise ValueError("has a list that does not lie in the file")
        return start, count

    def text(self, field: int, most: int = 4096) -> str:
        """Return a text of at most ``most`` bytes, which must end in a zero and be UTF-8."""
        start, count = self.span(field, 1)
        if count > most:
            raise ValueError(f"has a name of {count} bytes; at most {most} are allowed")
        if count and bytes(self.file.data[start + count : start + count + 1]) != b"\0":
            raise ValueError("has a name that does not end in a zero")
        return bytes(self.file.data[start : start + count]).decode("utf-8")

    def _follow(self, field: int) -> int:
        if self.slots[field] + 4 > self.size:
            raise ValueError("has a field that reaches out of its table")
        return self.file.follow(self.at + self.slots[field])
