"""Programs for ExecuTorch from outside: read without native code, refused in words where they are damaged."""

from __future__ import annotations

import contextlib
import struct
from pathlib import Path

import pytest
from fdikp_edge.runtime.outside.pte import read_pte
from hypothesis import given
from hypothesis import strategies as st

PROGRAM = (Path(__file__).parent / "program.pte").read_bytes()
"""Written by ExecuTorch 1.5.1 for three convolutions, with a transform and its inverse around the second."""


def patched(at: int, code: str, value: int) -> bytes:
    """Return the program with another number at a place."""
    data = bytearray(PROGRAM)
    struct.pack_into("<" + code, data, at, value)
    return bytes(data)


def test_a_sound_program_is_described() -> None:
    program = read_pte(PROGRAM)
    (x,), (y,) = program.inputs, program.outputs
    assert (x.shape, x.dtype, y.shape) == ((1, 3, 32, 48), "float32", (1, 3, 32, 48))
    assert (program.delegates, program.calls, dict(program.kernels)) == (["XnnpackBackend"], 1, {})
    assert (program.delegated["Conv2d"], program.delegated["FullyConnected"]) == (3, 12)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "0 bytes"),
        (b"PK\3\4" + PROGRAM[4:], "outside of the file"),
        (PROGRAM[:4] + b"ET99" + PROGRAM[8:], "identifier ET12"),
        (PROGRAM[: len(PROGRAM) // 2], "cut short"),
        (patched(0, "I", 0xFFFF_FFF0), "outside of the file"),
        (patched(24, "Q", 2**63), "segments that do not lie in the file"),
        (patched(32, "Q", 2**63), "segments that do not lie in the file"),
        (PROGRAM.replace(b"XH00", b"XH99"), "without XNNPACK's header"),
        (PROGRAM.replace(b"forward", b"foreign"), "expected one called forward"),
    ],
)
def test_a_damaged_program_is_refused_in_words(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_pte(data)


@given(st.integers(0, 4000), st.integers(0, 255))
def test_no_byte_of_the_description_breaks_the_reader(at: int, value: int) -> None:
    data = bytearray(PROGRAM)
    data[at] = value
    with contextlib.suppress(ValueError):  # the one error that it may end in
        read_pte(bytes(data))


@given(st.integers(12, 2**16))
def test_a_program_cut_short_is_refused(length: int) -> None:
    if length < len(PROGRAM) - 64:  # what is behind the last segment pads it
        with pytest.raises(ValueError):
            read_pte(PROGRAM[:length])


def test_numbers_of_values_that_do_not_exist_are_refused() -> None:
    start = PROGRAM.index(b"XH00") - 4
    graph = start + struct.unpack_from("<I", PROGRAM, start + 10)[0]
    size = struct.unpack_from("<I", PROGRAM, start + 14)[0]
    refused = 0
    for at in range(graph + 8, graph + size - 4, 4):
        try:
            read_pte(patched(at, "I", 0x7FFF_0000))
        except ValueError as error:
            refused += "do not exist" in str(error) or "does not exist" in str(error)
    assert refused > 50
