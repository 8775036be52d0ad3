"""The network as it is shipped: one image in, one image out, with the pixel format a device has at hand."""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn

from ..runtime.errors import BadInputError, UnknownNameError
from ..runtime.passport import TensorContract

ImageContract = Literal["float_nchw", "uint8_nhwc"]

IMAGE_CONTRACTS: tuple[ImageContract, ...] = ("float_nchw", "uint8_nhwc")
INPUT_NAME = "image"
OUTPUT_NAME = "deblurred"


def image_contract(name: str) -> ImageContract:
    """Return ``name`` if it is an image contract; :class:`UnknownNameError` lists those that exist."""
    if name not in IMAGE_CONTRACTS:
        raise UnknownNameError(
            f"unknown image contract {name!r}; expected one of: {', '.join(IMAGE_CONTRACTS)}"
        )
    return name


def tensor_contracts(
    contract: ImageContract, height: int, width: int
) -> tuple[TensorContract, TensorContract]:
    """Return what goes in and what comes out, for images of ``height`` x ``width`` pixels.

    ``float_nchw``: float32 [1, 3, H, W], RGB, black 0 and white 1; the output is not clamped.
    ``uint8_nhwc``: uint8 [1, H, W, 3], RGB, as decoders and cameras deliver it; the output is clamped and
    rounded.
    """
    if contract == "float_nchw":
        shape: tuple[int, ...] = (1, 3, height, width)
        return (
            TensorContract(
                name=INPUT_NAME, shape=shape, dtype="float32", layout="NCHW", value_range=(0.0, 1.0)
            ),
            TensorContract(
                name=OUTPUT_NAME, shape=shape, dtype="float32", layout="NCHW", value_range=(0.0, 1.0)
            ),
        )
    shape = (1, height, width, 3)
    return (
        TensorContract(name=INPUT_NAME, shape=shape, dtype="uint8", layout="NHWC", value_range=(0.0, 255.0)),
        TensorContract(name=OUTPUT_NAME, shape=shape, dtype="uint8", layout="NHWC", value_range=(0.0, 255.0)),
    )


class Deployable(nn.Module):
    """A deblurring network behind an image contract.

    The network takes float [1, 3, H, W] in [0, 1] and returns such an image, or a list or tuple of them
    from coarse to fine, of which the last is kept. With ``uint8_nhwc`` the conversion from and to bytes is
    part of the graph.
    """

    def __init__(self, model: nn.Module, contract: ImageContract = "float_nchw") -> None:
        """Wrap ``model``; :class:`UnknownNameError` for a contract that does not exist."""
        super().__init__()
        self.model = model
        self.contract: ImageContract = image_contract(contract)
        if contract == "uint8_nhwc":
            # A buffer, so that `.double()` also turns the conversions of the reference to double precision.
            self.register_buffer("white", torch.tensor(255.0), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Deblur one image, laid out as the contract says (see :func:`tensor_contracts`)."""
        if self.contract == "float_nchw":
            return self._finest(image)
        white = cast(Tensor, self.white)
        pixels = image.permute(0, 3, 1, 2).to(white.dtype) / white
        result = self._finest(pixels) * white
        # round() is half to even in torch, ONNX and OpenVINO alike.
        return result.clamp(0.0, 255.0).round().to(torch.uint8).permute(0, 2, 3, 1)

    def example(self, height: int, width: int) -> Tensor:
        """Return an input to trace with: noise, the same every time, which the lowering checks itself on."""
        source, _ = tensor_contracts(self.contract, height, width)
        noise = torch.rand(source.shape, generator=torch.Generator().manual_seed(0))
        return noise if source.dtype == "float32" else (noise * 255).to(torch.uint8)

    def _finest(self, x: Tensor) -> Tensor:
        result = self.model(x)
        if isinstance(result, (list, tuple)):
            if not result:
                raise BadInputError("the network returned an empty list instead of images")
            result = result[-1]
        if not isinstance(result, Tensor) or result.shape != x.shape:
            returned = list(result.shape) if isinstance(result, Tensor) else type(result).__name__
            raise BadInputError(
                f"the network must return an image of its input's shape {list(x.shape)} (or a list of them, "
                f"finest last), not {returned}"
            )
        return result
