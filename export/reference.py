"""The reference for every artifact: PyTorch eager with its native FFT, in float32 and in float64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, overload

import numpy as np
import torch
from torch import Tensor

from ..models.widening import InDouble, in_float32
from ..runtime.errors import BadInputError, FdikpEdgeError
from ..runtime.photo import Array
from .contracts import Deployable

Arithmetic = Literal["float32", "float64"]


class Reference:
    """Runs a :class:`Deployable` eagerly, numpy in and numpy out, on the inputs its contracts describe.

    In float64 the network computes in double precision whatever dtypes its code names
    (:mod:`~fdikp_edge.models.widening`), and one of 16-bit floats computes in float32 otherwise. Either takes
    the same inputs: what a user has is the photo, so its rounding to float32 or to bytes belongs to neither
    side.

    ``float64_problem`` says why a network has no float64 reference; empty if it has one. It is known after
    the first call for float64.
    """

    def __init__(self, deployable: Deployable, outputs: Sequence[str] = ()) -> None:
        """Take a network in eval mode; ``outputs`` are the names of its results, its own where not given."""
        self._deployable = deployable
        self._single = in_float32(deployable)
        self._double: InDouble | None = None
        self._outputs = tuple(outputs)
        self.float64_problem = ""

    @overload
    def __call__(self, x: Array, arithmetic: Arithmetic = "float32") -> Array: ...

    @overload
    def __call__(self, x: Mapping[str, Array], arithmetic: Arithmetic = "float32") -> dict[str, Array]: ...

    def __call__(
        self, x: Array | Mapping[str, Array], arithmetic: Arithmetic = "float32"
    ) -> Array | dict[str, Array]:
        """Return the network's results.

        Where the network does not run in float64, they are those of float32, and ``float64_problem`` says
        why.

        Args:
            x: arrays by name; or the array itself, for a network of one input and one output.
            arithmetic: ``float32`` or ``float64``.

        Returns:
            Arrays by name, or the array itself if ``x`` is one. Pictures are uint8 for ``uint8_nhwc``; other
            floats have the dtype ``arithmetic``.

        Raises:
            BadInputError: the network does not run in PyTorch on these inputs.
        """
        specs = self._deployable.specs
        arrays = [x[spec.name] for spec in specs] if isinstance(x, Mapping) else [x]
        tensors = [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]
        tensors = [value.float() if value.is_floating_point() else value for value in tensors]
        inputs = [
            torch.view_as_complex(value) if spec.dtype == "complex64" else value
            for value, spec in zip(tensors, specs, strict=True)
        ]
        results = self._in_double(inputs) if arithmetic == "float64" else self._in_single(inputs)
        names = self._outputs or [spec.name for spec in self._deployable.described]
        named = dict(zip(names, results, strict=True))
        return named if isinstance(x, Mapping) else results[0]

    def _in_double(self, inputs: Sequence[Tensor]) -> list[Array]:
        if not self.float64_problem:
            try:
                self._double = self._double or InDouble(self._single)
                return _arrays(self._double(*inputs))
            except Exception as error:  # the network's own code runs here
                self.float64_problem = (
                    "no float64 reference, float32 stands in for it: in double precision the network fails "
                    f"with {_first_line(error)}"
                )
        single = self._in_single(inputs)
        return [result.astype(np.float64) if result.dtype == np.float32 else result for result in single]

    def _in_single(self, inputs: Sequence[Tensor]) -> list[Array]:
        try:
            with torch.no_grad():
                return _arrays(self._single(*inputs))
        except (FdikpEdgeError, MemoryError):
            raise
        except Exception as error:
            raise BadInputError(
                "the reference could not be computed: the network fails in PyTorch eager with "
                f"{_first_line(error)}"
            ) from error


def _arrays(results: Any) -> list[Array]:
    return [_array(result) for result in (results if isinstance(results, tuple) else (results,))]


def _array(result: Tensor) -> Array:
    # A complex result is real with a last axis of 2 in the lowered program.
    real = torch.view_as_real(result) if result.is_complex() else result
    array: Array = real.contiguous().numpy()
    return array


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300] if lines else 'no message'}"
