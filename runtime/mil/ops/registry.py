"""The table of operations: MIL's name to a function of one :class:`Call`.

Functions get float16 values widened to float32 and return float32; the interpreter rounds to the declared
type. Addition, subtraction, multiplication, division and square root rounded twice in this way equal the
correctly rounded float16 result (float32 has more than 2 * 11 + 1 digits).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from ..immediate import Array
from ..program import Operation, TensorType

Result = Any
"""An array, or a tuple of them for several results. NumPy's own annotations often say no more."""
_T = TypeVar("_T")


@dataclass(frozen=True)
class Call:
    """One operation with its arguments at hand.

    ``narrow``: the result is float16, and sums are to be rounded to it after every addition.
    """

    operation: Operation
    arguments: dict[str, Any]
    narrow: bool = False

    def array(self, name: str) -> Array:
        """Return a required array.

        Raises:
            ValueError: it is missing or no array.
        """
        value = self.arguments.get(name)
        if not isinstance(value, np.ndarray):
            raise ValueError(f"the argument {name!r} is missing")
        return value

    def arrays(self, name: str) -> list[Array]:
        """Return an argument that is a list of arrays."""
        value = self.arguments.get(name)
        given = value if isinstance(value, list) else [value]
        arrays = [item for item in given if isinstance(item, np.ndarray)]
        if len(arrays) != len(given):
            raise ValueError(f"the argument {name!r} is missing")
        return arrays

    def numbers(self, name: str, default: _T) -> list[int] | _T:
        """Return a vector of whole numbers (or a single one, as a vector)."""
        value = self.arguments.get(name)
        return default if value is None else [int(v) for v in np.asarray(value).reshape(-1)]

    def number(self, name: str, default: _T) -> int | _T:
        """Return a whole number."""
        numbers = self.numbers(name, None)
        return default if numbers is None else numbers[0]

    def real(self, name: str, default: float) -> np.float32:
        """Return a float, in float32."""
        value = self.arguments.get(name)
        number: np.float32 = np.float32(default if value is None else float(np.asarray(value).reshape(-1)[0]))
        return number

    def flag(self, name: str, default: bool) -> bool:
        """Return true or false."""
        return bool(self.number(name, default))

    def text(self, name: str, default: str) -> str:
        """Return a word."""
        value = self.arguments.get(name, default)
        if not isinstance(value, str):
            raise ValueError(f"the argument {name!r} is no text")
        return value

    @property
    def out(self) -> TensorType:
        """The declared type of the (first) result."""
        return self.operation.outputs[0][1]

    def expect(self, shape: tuple[int, ...]) -> None:
        """Check, before anything that large is made, that the result will have the declared sizes."""
        if shape != self.out.shape:
            raise ValueError(f"makes {list(shape)}, declared as {self.out}")


OPERATIONS: dict[str, Callable[[Call], Result]] = {}
"""MIL operation -> function."""


def operation(*names: str) -> Callable[[Callable[[Call], Result]], Callable[[Call], Result]]:
    """Enter a function into the table under each of ``names``."""

    def enter(function: Callable[[Call], Result]) -> Callable[[Call], Result]:
        for name in names:
            OPERATIONS[name] = function
        return function

    return enter


def axis_of(axis: int, rank: int) -> int:
    """Return a possibly negative axis counted from the front; ``ValueError`` if there is none such."""
    if not -rank <= axis < rank:
        raise ValueError(f"the axis {axis} of {rank}")
    return axis % rank
