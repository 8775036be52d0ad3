"""One transform of an ONNX file as a matrix: a linear map on its axis and the pair of parts that lies last.

``DFT`` keeps complex values as a last dimension of 2 (real, imaginary), real ones as a last dimension of 1.
With the axis moved beside it, the two are one dimension of ``2 N`` numbers, and the transform is one real
matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...spectral.sites import Axis
from ...spectral.twiddles import forward_parts, half_inverse_parts

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Transform:
    """A transform of ``length`` points, as ``DFT`` defines it (forward without a factor, inverse by 1/N).

    ``taken`` inputs enter (fewer than the length: zeros follow), ``kept`` outputs leave. ``parts_in`` and
    ``parts_out`` are the sizes of the last dimension: 1 for real values, 2 for complex ones. With an inverse
    whose output is real, the input is a half spectrum.
    """

    length: int
    taken: int
    kept: int
    parts_in: int
    parts_out: int
    inverse: bool

    @property
    def direction(self) -> str:
        """What the user reads: forward or inverse, and whether it is one-sided."""
        one_sided = self.parts_out == 1 if self.inverse else self.kept < self.length
        return ("inverse" if self.inverse else "forward") + (", one-sided" if one_sided else "")

    @property
    def bytes(self) -> int:
        """Size of :meth:`matrix` in float32."""
        return 4 * self.taken * self.parts_in * self.kept * self.parts_out

    @property
    def name(self) -> str:
        """A name that says what the matrix is; equal transforms have equal names."""
        parts = f"{'r' if self.parts_in == 1 else 'c'}2{'r' if self.parts_out == 1 else 'c'}"
        return (
            f"dft_{parts}_{self.length}_{self.taken}x{self.kept}_{'inverse' if self.inverse else 'forward'}"
        )

    def matrix(self) -> Array:
        """Return the map, float32 [taken, parts_in, kept, parts_out]; built in float64.

        For a signal ``x = a + i b`` and sign -1 (forward) or +1: ``a C - sign b S`` and ``b C + sign a S``,
        with the cosines C and sines S of ``2 pi n k / N``. From a half spectrum: ``a C - sign b S``, with the
        weights of the mirrored half inside, and without the imaginary parts that no real signal has (bins 0
        and N/2).
        """
        sign = 1.0 if self.inverse else -1.0
        axis = Axis(0, self.length, self.taken, self.kept, 1.0 / self.length if self.inverse else 1.0)
        cos, sin = half_inverse_parts(axis) if self.parts_out == 1 else forward_parts(axis)
        entries = np.zeros((self.taken, self.parts_in, self.kept, self.parts_out))
        entries[:, 0, :, 0] = cos
        if self.parts_in == 2:
            entries[:, 1, :, 0] = -sign * sin
        if self.parts_out == 2:
            entries[:, 0, :, 1] = sign * sin
        if self.parts_in == self.parts_out == 2:
            entries[:, 1, :, 1] = cos
        return (entries + 0.0).astype(np.float32)  # no negative zeros
