"""Seeded damage: bytes, JSON values, protobuf fields, archive members, PNG chunks, TIFF entries.

Each function takes a generator and the bytes of a right file, and returns other bytes. The same seed gives
the same case on every machine. Structure-aware ones leave the outer form right (lengths, checksums), so that
what they change reaches the code behind it.
"""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

Mutator = Callable[[random.Random, bytes], bytes]

WORDS = (
    b"\x00",
    b"\xff" * 8,
    b"\x7f\xff\xff\xff",
    b"../../x",
    b"/etc/passwd",
    b"\x1b[2J\x1b]0;x\x07",
    b"9" * 400,
    b"NaN",
    b"Infinity",
    b"1e999",
    "²٣".encode(),
    "\u202e".encode(),
    b'"',
    b"{" * 200,
    b"[" * 5000,
    b"<!DOCTYPE x [<!ENTITY a 'b'>]>",
    b"cos\nsystem\n(S'id'\ntR.",
    b"%s%n{0}",
    b"PK\x03\x04",
)
VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    -1,
    0,
    1,
    2**31,
    2**63,
    2**64,
    10**400,
    -(10**400),
    1e308,
    -1e308,
    1e-320,
    0.5,
    float("nan"),
    float("inf"),
    "",
    " ",
    ".",
    "..",
    "../x",
    "/etc/passwd",
    "C:\\x",
    "a\x00b",
    "\x1b[31m",
    "\ud800",
    "\u202e",
    "²",
    "x" * 5000,
    "__import__('os')",
    "<script>",
    "{0.__class__}",
    [],
    {},
    [[]],
    [{}],
    {"": ""},
    [0] * 3000,
)


def flip(rng: random.Random, data: bytes) -> bytes:
    """Turn one to eight bits."""
    changed = bytearray(data or b"\0")
    for _ in range(rng.choice((1, 1, 2, 8))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def flip_early(rng: random.Random, data: bytes) -> bytes:
    """Turn bits in the first 200 bytes, where headers are."""
    return flip(rng, data[:200]) + data[200:]


def cut(rng: random.Random, data: bytes) -> bytes:
    """Keep the beginning only."""
    return data[: rng.choice((0, 1, 7, 8, len(data) - 1, rng.randrange(len(data) + 1)))]


def repeat(rng: random.Random, data: bytes) -> bytes:
    """Write a part twice, or the whole."""
    begin = rng.randrange(len(data) + 1)
    end = rng.choice((len(data), min(len(data), begin + rng.randrange(1, 64))))
    return data[:end] + data[begin:end] * rng.choice((1, 1, 50)) + data[end:]


def drop(rng: random.Random, data: bytes) -> bytes:
    """Leave a part out."""
    begin = rng.randrange(len(data) + 1)
    return data[:begin] + data[begin + rng.randrange(1, 64) :]


def insert(rng: random.Random, data: bytes) -> bytes:
    """Put a word of the dictionary in, or write over what was there."""
    at, word = rng.randrange(len(data) + 1), rng.choice(WORDS)
    return data[:at] + word + data[at + rng.choice((0, len(word))) :]


def number(rng: random.Random, data: bytes) -> bytes:
    """Write an extreme number over 1 to 8 bytes."""
    width = rng.choice((1, 2, 4, 8))
    at = rng.randrange(max(1, min(len(data), rng.choice((64, 512, len(data) or 1))) - width + 1))
    value = rng.choice((0, 1, 2 ** (8 * width) - 1, 2 ** (8 * width - 1), 2 ** (8 * width - 1) - 1))
    return data[:at] + value.to_bytes(width, rng.choice(("little", "big"))) + data[at + width :]


BYTES: tuple[Mutator, ...] = (flip, flip_early, cut, repeat, drop, insert, number)


def any_of(*mutators: Mutator) -> Mutator:
    """Return a mutator that uses one of several, drawn for each case."""

    def mutate(rng: random.Random, data: bytes) -> bytes:
        return rng.choice(mutators)(rng, data)

    return mutate


def change_json(rng: random.Random, value: Any) -> Any:
    """Return a JSON value with one to three places of it changed, left out, renamed or put elsewhere."""
    value = json.loads(json.dumps(value))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = list(_places(value))
        if not places:
            return rng.choice(VALUES)
        owner, key = rng.choice(places)
        action = rng.randrange(10)
        if action == 0:
            del owner[key]
        elif action == 1 and isinstance(owner, dict):
            owner[rng.choice(("", "x" * 5000, "../x", "\x1b[31m", "__class__", key + " "))] = owner.pop(key)
        elif action == 2:
            other, place = rng.choice(places)
            owner[key] = json.loads(json.dumps(other[place])) if _holds(other, place) else None
        elif action == 3 and isinstance(owner[key], int | float) and not isinstance(owner[key], bool):
            owner[key] = rng.choice((-owner[key], owner[key] + 1, owner[key] * 2**20, float(owner[key])))
        else:
            owner[key] = rng.choice(VALUES)
    return value


def _holds(owner: Any, key: Any) -> bool:
    return key in owner if isinstance(owner, dict) else key < len(owner)


def _places(value: Any) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from _places(inner)


def json_text(rng: random.Random, data: bytes) -> bytes:
    """Change a JSON text by its values; NaN and infinity are written as other programs write them."""
    return json.dumps(change_json(rng, json.loads(data))).encode("utf-8")


def safetensors_header(rng: random.Random, data: bytes) -> bytes:
    """Change the header by its values, with its length right again."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json_text(rng, data[8 : 8 + length])
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


def member(inner: Mutator, names: str = "", fix: Callable[[dict[str, bytes]], None] | None = None) -> Mutator:
    """Return a mutator of one member of an archive, checksums right again; or of its name.

    Args:
        inner: what is done to the bytes of the member.
        names: only members whose name ends so.
        fix: called with all members afterwards, to make what the archive says of itself right again.
    """

    def mutate(rng: random.Random, data: bytes) -> bytes:
        offset = data.find(b"PK\x03\x04")  # a bundle begins with a program
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            members = {info.filename: archive.read(info) for info in infos}
        name = rng.choice([n for n in members if n.endswith(names)])
        action = rng.randrange(12)
        if action == 0:
            other = rng.choice(("../x", "/x", "a/../../x", "x\\..\\y", "x" * 5000, "\x1b[2J", name.upper()))
            members[other] = members.pop(name)
        elif action == 1:
            del members[name]
        else:
            members[name] = inner(rng, members[name])
        if fix is not None:
            fix(members)
        method = rng.choice((infos[0].compress_type, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", method) as archive:
            for key, content in members.items():
                archive.writestr(key, content)
            if action == 2:
                archive.writestr(name + "/x", b"x")
        return data[: max(offset, 0)] + stream.getvalue()

    return mutate


def protobuf(rng: random.Random, data: bytes) -> bytes:
    """Change one field of a protobuf message at any depth, all lengths around it right again."""
    fields = _fields(data)
    if not fields:
        return rng.choice(BYTES)(rng, data) if data else b"\x08\x01"
    index = rng.randrange(len(fields))
    tag, kind, value = fields[index]
    action = rng.randrange(8)
    if action == 0:
        fields.pop(index)
    elif action == 1:
        fields[index:index] = [fields[index]] * rng.choice((1, 1, 100))
    elif action == 2:
        fields[index] = (rng.choice((0, 1, 2, tag + 1, 2**28)), kind, value)
    elif kind == 0:
        fields[index] = (tag, 0, rng.choice((0, 1, 2, 7, 2**31, 2**32, 2**63, 2**64 - 1, value ^ 1)))
    elif kind == 2:
        deeper = len(value) > 1 and rng.random() < 0.85 and _fields(value)
        fields[index] = (tag, 2, (protobuf if deeper else any_of(*BYTES))(rng, value))
    return b"".join(_field(*field) for field in fields)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(tag: int, kind: int, value: Any) -> bytes:
    head = _varint(tag << 3 | kind)
    if kind == 0:
        return head + _varint(value)
    return head + (_varint(len(value)) if kind == 2 else b"") + value


def _fields(data: bytes) -> list[tuple[int, int, Any]]:
    """Return the fields of a message as (number, wire type, value); empty where it is none."""
    fields: list[tuple[int, int, Any]] = []
    at = 0
    while at < len(data):
        head, at = _read_varint(data, at)
        kind = head & 7
        if at < 0 or head >> 3 == 0 or kind not in (0, 1, 2, 5):
            return []
        if kind == 0:
            value, at = _read_varint(data, at)
            if at < 0:
                return []
            fields.append((head >> 3, 0, value))
            continue
        size = {1: 8, 5: 4}.get(kind, 0)
        if kind == 2:
            size, at = _read_varint(data, at)
        if at < 0 or at + size > len(data):
            return []
        fields.append((head >> 3, kind, data[at : at + size]))
        at += size
    return fields


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            return 0, -1
        value |= (data[at] & 127) << shift
        at += 1
        if data[at - 1] < 128:
            return value, at
    return 0, -1


def png_chunk(rng: random.Random, data: bytes) -> bytes:
    """Change, leave out or repeat one chunk of a PNG, its checksum right again."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        (size,) = struct.unpack(">I", data[at : at + 4])
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    index = rng.randrange(len(chunks))
    name, body = chunks[index]
    action = rng.randrange(6)
    if action == 0:
        chunks.pop(index)
    elif action == 1:
        chunks[index:index] = [chunks[index]] * rng.choice((1, 500))
    elif action == 2:
        chunks.insert(index, (rng.choice((b"iCCP", b"tEXt", b"zTXt", b"eXIf", b"tRNS", b"acTL")), body))
    elif name == b"IDAT" and sum(chunk[0] == name for chunk in chunks) == 1 and rng.random() < 0.5:
        plain = rng.choice((flip, cut, repeat))(rng, zlib.decompress(body))
        chunks[index] = (name, zlib.compress(plain))
    else:
        chunks[index] = (name, rng.choice(BYTES)(rng, body))
    packed = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    ]
    return data[:8] + b"".join(packed)


def tiff_entry(rng: random.Random, data: bytes) -> bytes:
    """Change one entry of the first directory of a TIFF: its tag, type, count or value."""
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack(order + "I", data[4:8])
    (count,) = struct.unpack(order + "H", data[start : start + 2])
    at = start + 2 + 12 * rng.randrange(count)
    tag, kind, amount, value = struct.unpack(order + "HHII", data[at : at + 12])
    extreme = rng.choice((0, 1, 2, 255, 2**16, 2**31, 2**32 - 1, len(data), start))
    part = rng.randrange(4)
    tag = rng.choice((256, 257, 258, 259, 273, 277, 279, 317, 322, 330, 34675)) if part == 0 else tag
    kind = rng.randrange(0, 20) if part == 1 else kind
    amount = extreme if part == 2 else amount
    value = extreme if part == 3 else value
    return data[:at] + struct.pack(order + "HHII", tag, kind, amount, value) + data[at + 12 :]


def xml_text(rng: random.Random, data: bytes) -> bytes:
    """Change one attribute's value or leave an element out of an XML text."""
    text = data.decode("utf-8", errors="replace")
    quotes = [index for index, letter in enumerate(text) if letter == '"']
    if len(quotes) < 2 or rng.random() < 0.1:
        return insert(rng, data)
    begin = rng.randrange(0, len(quotes) - 1, 2)
    value = rng.choice(
        ("", "-1", "0", "1", "9" * 30, "x" * 5000, "nan", "../x", "Convolution", "f16", "\u202e")
    )
    return (text[: quotes[begin] + 1] + value + text[quotes[begin + 1] :]).encode("utf-8")
