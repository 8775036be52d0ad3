"""The reference for every artifact: PyTorch eager with its native FFT, in float32 and in float64."""

from __future__ import annotations

import copy
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from .contracts import Deployable

Arithmetic = Literal["float32", "float64"]


class Reference:
    """Runs a :class:`Deployable` eagerly, numpy in and numpy out, on the input its contract describes.

    The float64 copy is made when first asked for. It takes the same input: what a user has is the photo, so
    its rounding to float32 or to bytes belongs to neither side.
    """

    def __init__(self, deployable: Deployable) -> None:
        """Take a network in eval mode."""
        self._single = deployable
        self._double: Deployable | None = None

    def __call__(self, x: np.ndarray[Any, Any], arithmetic: Arithmetic = "float32") -> np.ndarray[Any, Any]:
        """Return the network's answer: uint8 for ``uint8_nhwc``, else an array of dtype ``arithmetic``."""
        model = self._single if arithmetic == "float32" else self._in_double()
        image = torch.from_numpy(np.ascontiguousarray(x))
        if image.is_floating_point():
            image = image.to(getattr(torch, arithmetic))
        with torch.no_grad():
            result: np.ndarray[Any, Any] = model(image).contiguous().numpy()
        return result

    def _in_double(self) -> Deployable:
        if self._double is None:
            double = copy.deepcopy(self._single)
            cast(Any, double)._apply(_widen)
            self._double = double
        return self._double


def _widen(tensor: Tensor) -> Tensor:
    # Module.double() leaves complex parameters in single precision.
    if tensor.is_complex():
        return tensor.to(torch.complex128)
    return tensor.double() if tensor.is_floating_point() else tensor
