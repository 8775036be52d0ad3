"""A measure of the user's own: ``package.module:function`` or ``file.py:function``."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping

from ...runtime.errors import SourceError
from ...runtime.photo import Array
from .base import Metric
from .imports import import_module, split
from .users_code import users_code

MOST_FIGURES = 20


def metric_of(metric: str | Metric) -> Metric:
    """Return a measure whose results are checked: a mapping of names to finite numbers.

    Args:
        metric: where a user's function lies, or the function. It is called with the reference and the result.

    Raises:
        SourceError: there is no such function. Calling the measure raises it too, where the function fails or
            returns something else.
    """
    if not isinstance(metric, str):
        return _checked(metric, getattr(metric, "__name__", "metric"))
    place, attribute = split(metric)
    if not attribute:
        raise SourceError(
            f"--metric {metric}: name a function, as file.py:function or package.module:function"
        )
    imported = import_module(place)
    function: object = imported.module
    for part in attribute.split("."):
        function = getattr(function, part, None)
    if not callable(function):
        raise SourceError(f"--metric {metric}: {place} has no function {attribute!r}")
    return _checked(function, metric)


def _checked(function: Metric, name: str) -> Metric:
    def measure(reference: Array, result: Array) -> Mapping[str, float]:
        with users_code(f"metric {name}"):
            figures: object = function(reference, result)
        if not isinstance(figures, Mapping) or not 1 <= len(figures) <= MOST_FIGURES:
            raise SourceError(
                f"metric {name} returned {figures!r:.80}; expected 1 to {MOST_FIGURES} named figures"
            )
        checked = {}
        for key, value in figures.items():
            if not isinstance(key, str) or not isinstance(value, numbers.Real) or not math.isfinite(value):
                raise SourceError(f"metric {name}: {key!r:.80} is {value!r:.80}; expected a finite number")
            checked[key] = float(value)
        return checked

    return measure
