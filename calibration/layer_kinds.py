"""Which operators of a program are layers with weights, and how each holds them. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerKind:
    """A family of operators with weights.

    ``data`` and ``weight`` are the places of the operands among the operator's arguments; ``channels`` is the
    axis of the weights along which output channels lie. Those of a transposed convolution in groups share
    one step among groups.
    """

    name: str
    data: int = 0
    weight: int = 1
    channels: int = 0

    @property
    def is_convolution(self) -> bool:
        """Whether it is a convolution that is not transposed."""
        return self.name in CONVOLUTIONS


CONV1D, CONV2D, CONV3D = "conv1d", "conv2d", "conv3d"
CONVOLUTIONS = (CONV1D, CONV2D, CONV3D)
TRANSPOSED = "transposed convolution"
PRODUCT, LEFT_PRODUCT = "product", "product from the left"
"""Of data with weights, and of weights with data."""
OPERATORS = {
    **{
        f"aten.{name}.{overload}": LayerKind(name)
        for name in CONVOLUTIONS
        for overload in ("default", "padding")
    },
    **{
        operator: LayerKind(TRANSPOSED, channels=1)
        for operator in (
            "aten.conv_transpose1d.default",
            "aten.conv_transpose2d.input",
            "aten.conv_transpose3d.input",
        )
    },
    "aten.linear.default": LayerKind(PRODUCT),
    "aten.addmm.default": LayerKind(PRODUCT, data=1, weight=2, channels=1),
}
PRODUCTS = ("aten.matmul.default", "aten.mm.default")
"""Operators that are layers if one of their operands is a stored matrix."""
