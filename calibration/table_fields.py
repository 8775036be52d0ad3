"""Reads the parts of a calibration table as typed values; a table is a file from outside."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..runtime.errors import CalibrationError
from .half import Certificate, HalfPlan
from .layers import Layer
from .ranges import SCHEMES, Statistics

LARGEST = 1e30
"""No tensor of a network that works holds a larger value; and squares of it are finite."""


def wrong(where: str, what: str) -> CalibrationError:
    """Return the error for one place of the table."""
    return CalibrationError(f"{where} {what}")


def read_section(value: Any) -> tuple[str, dict[str, Statistics], list[Layer], HalfPlan]:
    """Read what a table holds of one program: profile, statistics by tensor, layers, decision on float16.

    Raises:
        CalibrationError: a value of the wrong type or out of bounds.
    """
    tensors = {name: _statistics(entry, name) for name, entry in dict(value["tensors"]).items()}
    layers = [_layer(entry) for entry in value["layers"]]
    for layer in layers:
        if not layer.reason and layer.input not in tensors:
            raise wrong(f"layer {layer.node!r}", f"reads {layer.input!r}, of which there is no range")
    return _text(value["profile"], "profile"), tensors, layers, _half(value["half"])


def _half(value: Any) -> HalfPlan:
    certificates = []
    for entry in value["certificates"]:
        certificates.append(
            Certificate(
                site=_text(entry["site"], "site"),
                module=_text(entry["module"], "module"),
                gain=_number(entry["gain"], "gain"),
                input_peak=_number(entry["input_peak"], "input_peak"),
                bound=_number(entry["bound"], "bound"),
                peak=_number(entry["peak"], "peak"),
                decision=_text(entry["decision"], "decision"),
            )
        )
    return HalfPlan(
        wide={_text(node, "node"): _text(reason, "reason") for node, reason in dict(value["wide"]).items()},
        certificates=certificates,
        emulated_db=_number(value["emulated_db"], "emulated_db"),
        unguarded_db=_number(value["unguarded_db"], "unguarded_db"),
    )


def _statistics(value: Any, name: str) -> Statistics:
    numbers = {
        key: _number(value[key], f"{name}.{key}") for key in ("minimum", "maximum", "mean", "rms", "sqnr_db")
    }
    ranges = {scheme: _number(value["ranges"][scheme], f"{name}.ranges.{scheme}") for scheme in SCHEMES}
    if min(ranges.values()) < 0:
        raise wrong(f"{name}.ranges", "holds a negative range")
    return Statistics(**numbers, count=_count(value["count"], f"{name}.count"), ranges=ranges)


def _layer(value: Any) -> Layer:
    names = [f.name for f in dataclasses.fields(Layer) if f.name != "macs"]
    return Layer(
        **{name: _text(value[name], f"layer {name}") for name in names}, macs=_count(value["macs"], "macs")
    )


def _number(value: Any, where: str) -> float:
    if type(value) not in (int, float) or abs(value) > LARGEST:
        raise wrong(where, f"is {value!r:.40}, not a number")
    return float(value)


def _count(value: Any, where: str) -> int:
    if type(value) is not int or value < 0:
        raise wrong(where, f"is {value!r:.40}, not a whole number")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or len(value) > 500:
        raise wrong(where, "is not a short text")
    return value
