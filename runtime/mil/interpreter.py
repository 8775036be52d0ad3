"""Runs a package's program, one operation after the other, in the precisions it declares."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from ..errors import ArtifactError, BadInputError
from .immediate import Array
from .ops import OPERATIONS, Call
from .package import Package
from .program import Operation, Value

Accumulation = Literal["float32", "float16"]
Watch = Callable[[Operation, tuple[Array, ...]], None]
"""Told each operation and its results, to find where two programs part."""


class Interpreter:
    """A package, ready to run: every value has the declared element type after every operation.

    ``accumulation`` is what float16 products and sums are added in: ``float32``, as the Neural Engine does,
    or ``float16``, rounded after each addition.
    """

    def __init__(self, package: Package, *, accumulation: Accumulation = "float32") -> None:
        """Read the weights and check the program.

        Raises:
            ArtifactError: an operation this interpreter does not know (named, with its result), a value that
                no operation makes, or weights that cannot be read.
        """
        self.package = package
        self.accumulation = accumulation
        self._constants: dict[str, Any] = {}
        self._steps: list[Operation] = []
        self._last_use: dict[str, int] = {}
        self._prepare()

    def run(self, inputs: Mapping[str, Array], watch: Watch | None = None) -> dict[str, Array]:
        """Compute the outputs.

        Args:
            inputs: an array for each input of the program, of its declared sizes; rounded to its type.
            watch: see :data:`Watch`.

        Returns:
            Output name -> array of the declared type.

        Raises:
            BadInputError: an input is missing, unknown or of other sizes.
            ArtifactError: the program is at odds with itself; names the operation.
        """
        values: dict[str, Any] = self._inputs(inputs)
        with np.errstate(all="ignore"):
            for number, operation in enumerate(self._steps):
                arguments = self._arguments(operation, values)
                results = self._call(operation, arguments)
                if watch is not None:
                    watch(operation, results)
                for (name, _), result in zip(operation.outputs, results, strict=True):
                    values[name] = result
                for name in _names(operation):
                    if self._last_use.get(name) == number:
                        values.pop(name, None)
        return {name: np.array(self._named(name, values)) for name in self.package.program.outputs}

    def part(self, given: Mapping[str, Array], wanted: Sequence[str]) -> dict[str, Array]:
        """Compute some values from others, with the operations that lie between and no more.

        Args:
            given: name of a value -> array of its declared sizes; rounded to its type.
            wanted: names of values.

        Raises:
            BadInputError: a value that the program does not have, or one that does not follow from ``given``.
            ArtifactError: the program is at odds with itself.
        """
        kinds = dict(self.package.program.inputs)
        makers = {name: step for step in self._steps for name, _ in step.outputs}
        kinds.update(kind for step in self._steps for kind in step.outputs)
        if unknown := [name for name in (*given, *wanted) if name not in kinds]:
            raise BadInputError(f"{self.package.path}: holds no value {unknown[0]!r:.80}")
        needed: set[int] = set()
        waiting = [name for name in wanted if name not in given]
        while waiting:
            name = waiting.pop()
            if name not in makers:
                raise BadInputError(f"{self.package.path}: {name!r:.80} does not follow from what is given")
            step = makers[name]
            if id(step) not in needed:
                needed.add(id(step))
                waiting += [n for n in _names(step) if n not in self._constants and n not in given]
        with np.errstate(all="ignore"):
            values: dict[str, Any] = {name: given[name].astype(kinds[name].dtype) for name in given}
            for step in self._steps:
                if id(step) in needed:
                    results = self._call(step, self._arguments(step, values))
                    named = dict(zip((name for name, _ in step.outputs), results, strict=True))
                    values.update({name: value for name, value in named.items() if name not in given})
        return {name: np.array(values[name]) for name in wanted}

    def _prepare(self) -> None:
        program = self.package.program
        known = {name for name, _ in program.inputs}
        for operation in program.operations:
            if operation.type != "const" and operation.type not in OPERATIONS:
                raise self._wrong(
                    operation,
                    f"this interpreter does not know the operation; it knows {', '.join(sorted(OPERATIONS))}",
                )
            missing = [name for name in _names(operation) if name not in known]
            if missing:
                raise self._wrong(operation, f"reads {missing[0]!r:.80}, which no operation before it makes")
            names = [name for name, _ in operation.outputs]
            if not names or known & set(names):
                raise self._wrong(operation, "makes nothing, or what another operation makes too")
            known.update(names)
            if operation.type == "const":
                self._constants[names[0]] = self._constant(operation)
            elif operation.type.startswith("constexpr_"):
                arguments = self._arguments(operation, {})
                for key, value in operation.attributes.items():  # where iOS 16 and 17 keep their arguments
                    arguments.setdefault(key, _widened(self.package.array(value)))
                with np.errstate(all="ignore"):
                    self._constants[names[0]] = self._call(operation, arguments)[0]
            else:
                self._steps.append(operation)
        if lost := [name for name in program.outputs if name not in known]:
            raise ArtifactError(f"{self.package.path}: no operation makes the output {lost[0]!r:.80}")
        for number, operation in enumerate(self._steps):
            self._last_use.update(dict.fromkeys(_names(operation), number))
        for name in program.outputs:
            self._last_use.pop(name, None)

    def _inputs(self, given: Mapping[str, Array]) -> dict[str, Array]:
        declared = dict(self.package.program.inputs)
        if set(given) != set(declared):
            raise BadInputError(f"expected the inputs {sorted(declared)}, got {sorted(given)}")
        values = {}
        for name, kind in declared.items():
            if given[name].shape != kind.shape:
                raise BadInputError(f"{name}: expected {kind}, got {list(given[name].shape)}")
            values[name] = given[name].astype(kind.dtype)
        return values

    def _constant(self, operation: Operation) -> Array | str:
        value = operation.attributes.get("val")
        if value is None or value.type != operation.outputs[0][1]:
            raise self._wrong(operation, "a constant without a value of its declared type")
        return self.package.array(value)

    def _arguments(self, operation: Operation, values: dict[str, Any]) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        for key, bindings in operation.inputs.items():
            read = [
                self.package.array(b) if isinstance(b, Value) else self._named(b, values) for b in bindings
            ]
            wide = [_widened(value) for value in read]
            arguments[key] = wide[0] if len(wide) == 1 and key != "values" else wide
        return arguments

    def _named(self, name: str, values: dict[str, Any]) -> Any:
        return values[name] if name in values else self._constants[name]

    def _call(self, operation: Operation, arguments: dict[str, Any]) -> tuple[Array, ...]:
        kind = operation.outputs[0][1]
        narrow = kind.dtype == "float16" and self.accumulation == "float16"
        try:
            returned = OPERATIONS[operation.type](Call(operation, arguments, narrow))
            results = tuple(np.asarray(r) for r in (returned if isinstance(returned, tuple) else (returned,)))
            if len(results) != len(operation.outputs):
                raise ValueError(f"makes {len(results)} values, {len(operation.outputs)} are declared")
            rounded = []
            for result, (_, declared) in zip(results, operation.outputs, strict=True):
                if result.shape != declared.shape or not _fits(result.dtype, declared.dtype):
                    raise ValueError(f"makes {result.dtype}{list(result.shape)}, declared as {declared}")
                rounded.append(result.astype(declared.dtype, copy=False))
        except MemoryError as error:
            raise self._wrong(operation, "needs more memory than there is") from error
        except (ValueError, TypeError, IndexError, ArithmeticError, AttributeError) as error:
            raise self._wrong(operation, str(error)) from error
        return tuple(rounded)

    def _wrong(self, operation: Operation, what: str) -> ArtifactError:
        return ArtifactError(f"{self.package.path}: {operation!s:.120}: {what}")


def _names(operation: Operation) -> list[str]:
    return [b for bindings in operation.inputs.values() for b in bindings if isinstance(b, str)]


def _widened(value: Any) -> Any:
    half = isinstance(value, np.ndarray) and value.dtype == np.float16
    return value.astype(np.float32) if half else value


def _fits(dtype: np.dtype[Any], declared: str) -> bool:
    """Whether a result may be declared so: floats as any float, integers and truth values as themselves."""
    if declared.startswith("float"):
        return bool(dtype.kind == "f")
    return dtype == np.dtype(declared)
