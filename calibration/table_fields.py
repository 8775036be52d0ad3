"""Reads the parts of a calibration table as typed values; a table is a file from outside."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar, cast

from ..runtime.errors import CalibrationError
from .fp16_islands import Certificate, HalfPlan
from .layers import Layer
from .mixed_precision import Bounds, MixedPrecision, Point, Times, Trial
from .ranges import SCHEMES, Statistics

_T = TypeVar("_T")

LARGEST = 1e30
"""No tensor of a network that works holds a larger value; and squares of it are finite."""
_OLD_NO_FASTER = "a product, computed no faster in 8 bits here: its weights alone are stored in them"
"""The reason by which tables of version 0.1.0 name layers whose weights alone are in 8 bits."""


def wrong(where: str, what: str) -> CalibrationError:
    """Return the error for one place of the table."""
    return CalibrationError(f"{where} {what}")


def read_section(
    value: Any,
) -> tuple[dict[str, Statistics], list[Layer], HalfPlan, MixedPrecision | None]:
    """Read a table's entry for one program and profile, in the order of the fields of ``ProgramCalibration``.

    Raises:
        CalibrationError: a value of the wrong type or out of bounds.
    """
    tensors = {name: _statistics(entry, name) for name, entry in dict(value["tensors"]).items()}
    layers = [_layer(entry) for entry in value["layers"]]
    for layer in layers:
        for verb, name in (("reads", layer.input), ("makes", layer.node)):
            if not layer.reason and name not in tensors:
                raise wrong(f"layer {layer.node!r}", f"{verb} {name!r}, which has no range")
    mixture = value.get("mixture")  # which only a search leaves
    return (
        tensors,
        layers,
        _half(value["half"]),
        None if mixture is None else _mixture(mixture),
    )


def read_key(program_sha256: Any, profile: Any) -> tuple[str, str]:
    """Read what a section is known by; its errors as :func:`read_section`'s."""
    return _text(program_sha256, "programs"), _text(profile, "programs: a profile")


def _mixture(value: Any) -> MixedPrecision:
    times, points = value["times"], [_figures(Point, entry, "points") for entry in value["points"]]
    chosen = _count(value["chosen"], "chosen")
    ranking = [_figures(Trial, entry, "ranking") for entry in value["ranking"]]
    if chosen >= len(points) or points[chosen].in_floats > len(ranking):
        raise wrong("mixture.chosen", "is not the index of a point")
    return MixedPrecision(
        bounds=Bounds(
            **{
                name: None if value["bounds"][name] is None else _number(value["bounds"][name], name)
                for name in ("max_drop_db", "min_speedup")
            }
        ),
        photos=_text(value["photos"], "photos"),
        times=_figures(Times, {**times, "layers": {}}, "times"),
        ranking=ranking,
        points=points,
        chosen=chosen,
        confirmed_speedup=_number(value["confirmed_speedup"], "confirmed_speedup"),
    )


def _figures(kind: type[_T], value: Any, where: str) -> _T:
    """Read a record of texts, whole numbers and numbers, as its annotations say."""
    readers: dict[str, Callable[[Any, str], Any]] = {"str": _text, "int": _count, "float": _number}
    figures = {
        f.name: readers[f.type](value[f.name], f"{where}.{f.name}") if f.type in readers else value[f.name]
        for f in dataclasses.fields(cast(Any, kind))
    }
    return kind(**figures)


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
        float32_layers={
            _text(node, "node"): _text(reason, "reason") for node, reason in dict(value["wide"]).items()
        },
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
    names = [f.name for f in dataclasses.fields(Layer) if f.name not in ("macs", "weights_only")]
    texts = {name: _text(value[name], f"layer {name}") for name in names}
    weights_only = value.get("weights_only", texts["reason"] == _OLD_NO_FASTER)
    if type(weights_only) is not bool:
        raise wrong("layer weights_only", f"is {weights_only!r:.40}, not true or false")
    return Layer(**texts, macs=_count(value["macs"], "macs"), weights_only=weights_only)


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
