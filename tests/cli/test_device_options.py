"""What both command lines let people set about a profile: one table, shown by both."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
from typing import Any

import pytest
from fdikp_edge.benchmarks.timing.protocol import SETTINGS, Protocol
from fdikp_edge.cli.device.measuring import protocol_of
from fdikp_edge.cli.device.parser import parser


def test_every_field_but_the_warming_up_is_set_by_an_option_that_both_show(cli: Any) -> None:
    assert {field.name for field in dataclasses.fields(Protocol)} - set(SETTINGS) == {"warmup"}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit):
        parser("x.bundle").parse_args(["profile", "--help"])
    texts = [" ".join(text.split()).lower() for text in (printed.getvalue(), cli("profile", "-h").stdout)]
    for setting in SETTINGS.values():
        for text in texts:
            assert re.search(rf"--{setting.option} {setting.metavar.lower()} {setting.help}", text)


def test_options_of_a_device_become_the_protocol() -> None:
    options = parser("x.bundle").parse_args(["profile"])
    assert protocol_of(options) == Protocol()
    words = [f"--{setting.option}=7" for setting in SETTINGS.values()]
    protocol = protocol_of(parser("x.bundle").parse_args(["profile", *words]))
    assert {getattr(protocol, name) for name in SETTINGS} == {7} and protocol.warmup == Protocol().warmup


def test_former_names_of_options_are_accepted_and_hidden(cli: Any) -> None:
    options = parser("x.bundle").parse_args(["profile", "--most-seconds", "7"])
    assert protocol_of(options).max_seconds == 7
    for command, former in (("profile", "--most-seconds"), ("calibrate", "--sturdy")):
        assert former not in cli(command, "--help").stdout
        assert "No such option" not in cli(command, former, "--help").stderr
    refused = cli("profile", "nowhere", "--most-seconds", "0")
    assert refused.returncode == 2 and "0.05" in refused.stderr
    refused = cli("calibrate", "nowhere", "--sturdy", "--size", "nonsense")
    assert refused.returncode == 2 and "nonsense" in refused.stderr
