"""Tells which layer of a converted file is which of the program.

A layer's bias is replaced by a vector of one number that no other layer has, before the converter sees it.
Names do not survive the conversion, and weights may be shared by layers of different ranges. A number that is
not in the file afterwards belongs to a layer that the converter merged with what follows it.
"""

from collections.abc import Collection
from typing import Any

from .graph import Graph

_FIRST = float(2**22)
LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def mark(place: int) -> float:
    """Return the number of a layer. Numbers up to 2**24 are exact in float32."""
    return _FIRST + place


def marked_operators(graph: Graph, places: Collection[int]) -> dict[int, list[Any]]:
    """Return place of a layer -> the operators that have its number."""
    marks = {mark(place): place for place in places}
    operators: dict[int, list[Any]] = {}
    for operator in graph.operators:
        if graph.kind(operator) not in LAYERS or len(operator.inputs) < 3:
            continue
        bias = graph.constant(operator.inputs[2])
        if bias is None or bias.size == 0 or not (bias == bias.flat[0]).all():
            continue
        place = marks.get(float(bias.flat[0]))
        if place is not None and graph.constant(operator.inputs[1]) is not None:
            operators.setdefault(place, []).append(operator)
    return operators


def lost_marks(graph: Graph, places: Collection[int]) -> list[int]:
    """Return the layers that are not exactly one operator with stored weights."""
    operators = marked_operators(graph, places)
    return [place for place in places if len(operators.get(place, ())) != 1]
