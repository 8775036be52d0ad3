"""The reference for every artifact: PyTorch eager with its native FFT, in float32 and in float64."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast, overload

import numpy as np
import torch
from torch import Tensor

from ..runtime.photo import Array
from .contracts import Deployable

Arithmetic = Literal["float32", "float64"]


class Reference:
    """Runs a :class:`Deployable` eagerly, numpy in and numpy out, on the inputs its contracts describe.

    The float64 copy is made when first asked for. It takes the same input: what a user has is the photo, so
    its rounding to float32 or to bytes belongs to neither side.
    """

    def __init__(self, deployable: Deployable, outputs: Sequence[str] = ()) -> None:
        """Take a network in eval mode; ``outputs`` are the names of its results, its own where not given."""
        self._single = deployable
        self._outputs = tuple(outputs)
        self._double: Deployable | None = None

    @overload
    def __call__(self, x: Array, arithmetic: Arithmetic = "float32") -> Array: ...

    @overload
    def __call__(self, x: Mapping[str, Array], arithmetic: Arithmetic = "float32") -> dict[str, Array]: ...

    def __call__(
        self, x: Array | Mapping[str, Array], arithmetic: Arithmetic = "float32"
    ) -> Array | dict[str, Array]:
        """Return the network's results.

        Args:
            x: arrays by name; or the array itself, for a network of one input and one output.
            arithmetic: ``float32`` or ``float64``.

        Returns:
            Arrays by name, or the array itself if ``x`` is one. Pictures are uint8 for ``uint8_nhwc``; other
            floats have the dtype ``arithmetic``.
        """
        model = self._single if arithmetic == "float32" else self._in_double()
        arrays = [x[spec.name] for spec in model.specs] if isinstance(x, Mapping) else [x]
        tensors = [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]
        wide = getattr(torch, arithmetic)
        tensors = [t.to(wide) if t.is_floating_point() else t for t in tensors]
        given = [
            torch.view_as_complex(t) if spec.dtype == "complex64" else t
            for t, spec in zip(tensors, model.specs, strict=True)
        ]
        with torch.no_grad():
            results = model(*given)
        results = results if isinstance(results, tuple) else (results,)
        names = self._outputs or [spec.name for spec in model.described]
        named = {name: _array(result) for name, result in zip(names, results, strict=True)}
        return named if isinstance(x, Mapping) else next(iter(named.values()))

    def _in_double(self) -> Deployable:
        if self._double is None:
            double = copy.deepcopy(self._single)
            cast(Any, double)._apply(_widen)
            self._double = double
        return self._double


def _array(result: Tensor) -> Array:
    # A complex result is real with a last axis of 2 in the lowered program.
    real = torch.view_as_real(result) if result.is_complex() else result
    array: Array = real.contiguous().numpy()
    return array


def _widen(tensor: Tensor) -> Tensor:
    # Module.double() leaves complex parameters in single precision.
    if tensor.is_complex():
        return tensor.to(torch.complex128)
    return tensor.double() if tensor.is_floating_point() else tensor
