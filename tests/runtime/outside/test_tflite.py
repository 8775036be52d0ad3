"""The reader of `.tflite` files: a real one is read as what it is, and every damaged one is refused in words.

`data/small.tflite` was converted by litert-torch from two convolutions and a sum; `data/small.npz` has an
input and what PyTorch computed from it.
"""

from __future__ import annotations

import contextlib
import random
import struct
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from fdikp_edge.runtime.outside.flatbuffer import Flatbuffer, Table
from fdikp_edge.runtime.outside.tflite import PADDING, read_tflite
from hypothesis import given, settings
from hypothesis import strategies as st

FILE = Path(__file__).parent / "data" / "small.tflite"
DATA = FILE.read_bytes()


def root() -> Table:
    return Flatbuffer(DATA).root(b"TFL3")


def graph() -> Table:
    return next(root().tables(2))


def written(table: Table, field: int, form: str, value: float) -> bytes:
    """The file with another number in a field of a table."""
    assert table.has(field)
    data = bytearray(DATA)
    struct.pack_into("<" + form, data, table.at + table.slots[field], value)
    return bytes(data)


def listed(table: Table, field: int, size: int, place: int, form: str, value: float) -> bytes:
    """The file with another number in a list."""
    start, count = table.span(field, size)
    assert place < count
    data = bytearray(DATA)
    struct.pack_into("<" + form, data, start + place * size, value)
    return bytes(data)


def operator(name: str) -> Table:
    place = [one.name for one in read_tflite(DATA).operators].index(name)
    return list(graph().tables(3))[place]


def code(number: int) -> Table:
    return next(table for table in root().tables(1) if table.number(3, "i") == number)


def tensor(constant: bool) -> Table:
    place = next(i for i, t in enumerate(read_tflite(DATA).tensors) if (t.constant is not None) == constant)
    return list(graph().tables(0))[place]


def test_a_real_file_is_read_as_what_it_is() -> None:
    model = read_tflite(DATA)
    assert model.census["CONV_2D"] == 2 and model.census["ADD"] == 1
    assert model.signature == "serving_default"
    (image,), (out,) = model.inputs.values(), model.outputs.values()
    assert list(model.inputs) == ["image"] and list(model.outputs) == ["out"]
    assert model.tensors[image].shape == model.tensors[out].shape == (1, 3, 8, 8)
    assert model.tensors[image].dtype == "float32" and model.tensors[image].constant is None
    assert model.metadata["fdikp_edge"] == b"{}"
    weights = [t for t in model.tensors if t.constant and t.shape == (4, 3, 3, 3)]
    assert len(weights) == 1 and weights[0].constant is not None
    assert weights[0].constant[1] == 4 * 4 * 3 * 3 * 3


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "0 bytes"),
    "another format": (lambda: DATA[:4] + b"ONNX" + DATA[8:], "identifier TFL3"),
    "a root outside": (lambda: struct.pack("<I", len(DATA)) + DATA[4:], "outside of the file"),
    "a root within itself": (lambda: struct.pack("<I", 0) + DATA[4:], "outside of the file"),
    "another version": (lambda: written(root(), 0, "I", 4), "version 3"),
    "an operator of somebody's own": (
        lambda: written(code(3), 3, "i", 32),
        "code 32",
    ),
    "control flow": (lambda: written(code(3), 3, "i", 119), "code 119"),
    "a shape of zero": (lambda: listed(tensor(False), 0, 4, 1, "i", 0), "shape"),
    "a shape below zero": (lambda: listed(tensor(False), 0, 4, 1, "i", -1), "shape"),
    "a shape beyond memory": (lambda: listed(tensor(False), 0, 4, 1, "i", 2**31 - 1), "GB"),
    "a list beyond the file": (
        lambda: (
            DATA[: tensor(False).span(0, 4)[0] - 4]
            + struct.pack("<I", 2**32 - 1)
            + DATA[tensor(False).span(0, 4)[0] :]
        ),
        "list that does not lie",
    ),
    "a constant too short for its shape": (lambda: listed(tensor(True), 0, 4, 0, "i", 77), "bytes"),
    "a buffer that does not exist": (lambda: written(tensor(True), 2, "I", 10**6), "buffer"),
    "an input that does not exist": (
        lambda: listed(operator("CONV_2D"), 1, 4, 0, "i", 10**6),
        "does not exist",
    ),
    "an output below the list": (lambda: listed(operator("CONV_2D"), 2, 4, 0, "i", -1), "does not exist"),
    "an operator that reads its own result": (
        lambda: listed(operator("CONV_2D"), 1, 4, 0, "i", operator("CONV_2D").numbers(2)[0]),
        "nothing has made",
    ),
    "a result that overwrites the input": (
        lambda: listed(operator("CONV_2D"), 2, 4, 0, "i", graph().numbers(1)[0]),
        "writes a tensor that exists",
    ),
    "options of another kind": (lambda: written(operator("CONV_2D"), 3, "B", 200), "options"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_with_the_reason(name: str) -> None:
    make, message = HOSTILE[name]
    with pytest.raises(ValueError, match=message):
        read_tflite(make())


def test_a_file_cut_short_anywhere_is_refused() -> None:
    for length in range(0, len(DATA) - 1, 7):
        with pytest.raises(ValueError):
            read_tflite(DATA[:length])


def test_one_table_listed_many_times_ends_in_an_error_and_not_in_hours() -> None:
    # A list of 600,000 offsets that all lead to one table.
    count, head = 600_000, 40
    fields = struct.pack("<HHHHHHI", 10, 12, 4, 8, 0, 0, 0)  # at 8: list of fields of the root
    table = struct.pack("<iII", 24 - 8, 3, head - 32)  # at 24: version 3, operator codes at 40
    listing = struct.pack("<I", count) + b"".join(
        struct.pack("<I", head + 4 + 4 * count - (head + 4 + 4 * i)) for i in range(count)
    )
    end = struct.pack("<HH", 4, 4) + struct.pack("<i", 4)
    data = struct.pack("<I", 24) + b"TFL3" + fields + table + bytes(head - 36) + listing + end
    with pytest.raises(ValueError, match=r"more than 500000|outside|between|lie in the file"):
        read_tflite(data)


@given(st.integers(0, len(DATA) - 4), st.binary(min_size=1, max_size=4))
@settings(max_examples=300, deadline=None)
def test_a_damaged_file_is_read_or_refused_and_nothing_else(place: int, damage: bytes) -> None:
    damaged = DATA[:place] + damage + DATA[place + len(damage) :]
    with contextlib.suppress(ValueError, OverflowError):
        read_tflite(damaged)


_RUN = """
import sys
from ai_edge_litert.interpreter import Interpreter
import numpy as np
data = sys.stdin.buffer.read()
size = int(sys.argv[1])
for start in range(0, len(data), size):
    try:
        one = Interpreter(model_content=data[start : start + size], num_threads=1)
        one.allocate_tensors()
        one.invoke()
    except (ValueError, RuntimeError):
        pass
"""


@pytest.mark.skipif(
    find_spec("ai_edge_litert") is None, reason="ai-edge-litert is not installed (extra litert)"
)
def test_what_the_reader_accepts_does_not_end_the_process() -> None:
    draw = random.Random(5)
    accepted = []
    while len(accepted) < 150:
        place = draw.randrange(8, len(DATA))
        damaged = DATA[:place] + bytes([draw.randrange(256)]) + DATA[place + 1 :]
        try:
            read_tflite(damaged)
        except (ValueError, OverflowError):
            continue
        accepted.append(damaged + PADDING)
    command = [sys.executable, "-c", _RUN, str(len(DATA) + len(PADDING))]
    done = subprocess.run(command, input=b"".join(accepted), capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr[-500:]
