from __future__ import annotations

import pytest
from fdikp_edge.cli import main
from fdikp_edge.cli.options import PixelFormat
from fdikp_edge.cli.parsing import parse_size
from fdikp_edge.export.contracts import IMAGE_CONTRACTS
from fdikp_edge.runtime.errors import SizeError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("256x384", (256, 384)),
        ("256", (256, 256)),
        ("256X384", (256, 384)),
        (" 8 x 9 ", (8, 9)),
        ("720×1280", (720, 1280)),
    ],
)
def test_sizes(text: str, size: tuple[int, int]) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "0", "x256", "256x", "0x256", "-1x256", "256x256x3", "2.5x256", "99999x1", "1e3x1e3", "٢x٢"],
)
def test_what_is_no_size_says_what_would_be(text: str) -> None:
    with pytest.raises(SizeError, match="--size 256x384"):
        parse_size(text)


@pytest.mark.parametrize("name", IMAGE_CONTRACTS)
def test_every_image_contract_can_be_typed(name: str) -> None:
    assert [form.contract for form in PixelFormat].count(name) == 1


THREADED = ["deploy", "bench", "verify", "bisect", "profile", "gate", "deblur", "calibrate"]
WRONG = [
    *((command, "--threads", value, "--threads") for command in THREADED for value in ("0", "5000", "many")),
    *((command, "--contract", "uint16", "'uint8'") for command in ("deploy", "export", "calibrate")),
]


@pytest.mark.parametrize(("command", "option", "value", "message"), WRONG)
def test_a_wrong_choice_or_range_is_one_line(
    command: str,
    option: str,
    value: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.argv", ["fdikp-edge", command, option, value])
    with pytest.raises(SystemExit) as left:
        main.run()
    printed = capsys.readouterr()
    assert left.value.code == 2 and printed.out == ""
    assert printed.err.startswith("fdikp-edge: error: Invalid value") and message in printed.err
    assert printed.err.count("\n") == 1
