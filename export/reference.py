"""The reference for every artifact: PyTorch eager with its native FFT, in float32 and in float64."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch

from ..runtime.errors import BadInputError, FdikpEdgeError
from .contracts import Deployable
from .widening import InDouble, in_float32

Arithmetic = Literal["float32", "float64"]


class Reference:
    """Runs a :class:`Deployable` eagerly, numpy in and numpy out, on the input its contract describes.

    In float64 the network computes in double precision whatever dtypes its code names (:mod:`.widening`), and
    one of 16-bit floats computes in float32 otherwise. Either takes the same input: what a user has is the
    photo, so its rounding to float32 or to bytes belongs to neither side.

    ``float64_problem`` says why a network has no float64 reference; empty if it has one. It is known after
    the first call for float64.
    """

    def __init__(self, deployable: Deployable) -> None:
        """Take a network in eval mode."""
        self._single = in_float32(deployable)
        self._double: InDouble | None = None
        self.float64_problem = ""

    def __call__(self, x: np.ndarray[Any, Any], arithmetic: Arithmetic = "float32") -> np.ndarray[Any, Any]:
        """Return the network's answer: uint8 for ``uint8_nhwc``, else an array of dtype ``arithmetic``.

        Where the network does not run in float64, the answer is that of float32, and ``float64_problem`` says
        why.

        Raises:
            BadInputError: the network does not run in PyTorch on this input.
        """
        image = torch.from_numpy(np.ascontiguousarray(x))
        if image.is_floating_point():
            image = image.float()
        if arithmetic == "float64" and not self.float64_problem:
            try:
                self._double = self._double or InDouble(self._single)
                return _array(self._double(image))
            except Exception as error:  # the network's own code runs here
                self.float64_problem = (
                    f"no float64 reference, float32 stands in for it: in double precision the network fails "
                    f"with {_said(error)}"
                )
        try:
            with torch.no_grad():
                result = _array(self._single(image))
        except (FdikpEdgeError, MemoryError):
            raise
        except Exception as error:
            raise BadInputError(
                f"the reference could not be computed: the network fails in PyTorch eager with {_said(error)}"
            ) from error
        return result.astype(np.float64) if arithmetic == "float64" and result.dtype == np.float32 else result


def _array(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    result: np.ndarray[Any, Any] = tensor.contiguous().numpy()
    return result


def _said(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300] if lines else 'no message'}"
