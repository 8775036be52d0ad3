from __future__ import annotations

import pytest
from fdikp_edge.cli.parsing import check_threads, parse_contract, parse_size
from fdikp_edge.runtime.errors import BadInputError, SizeError, UnknownNameError


@pytest.mark.parametrize(
    ("text", "size"),
    [("256x384", (256, 384)), ("256X384", (256, 384)), (" 8 x 9 ", (8, 9)), ("720×1280", (720, 1280))],
)
def test_sizes(text: str, size: tuple[int, int]) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "256", "x256", "256x", "0x256", "-1x256", "256x256x3", "2.5x256", "99999x1", "1e3x1e3", "٢x٢"],
)
def test_what_is_no_size_says_what_would_be(text: str) -> None:
    with pytest.raises(SizeError, match="--size 256x384"):
        parse_size(text)


def test_contracts() -> None:
    assert parse_contract("float") == "float_nchw"
    assert parse_contract("uint8") == "uint8_nhwc"
    with pytest.raises(UnknownNameError, match="float, uint8"):
        parse_contract("uint16")


def test_threads() -> None:
    assert check_threads(None) is None
    assert check_threads(2) == 2
    for wrong in (0, -1, 5000):
        with pytest.raises(BadInputError, match="--threads"):
            check_threads(wrong)
