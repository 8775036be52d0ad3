"""The network as it is shipped: tensors by name, pictures in the pixel format that a device has at hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from ..models.sources.base import TensorSpec
from ..runtime.errors import BadInputError, UnknownNameError
from ..runtime.tensors import MAX_RANK, Dtype, TensorContract

ImageContract = Literal["float_nchw", "uint8_nhwc"]

IMAGE_CONTRACTS: tuple[ImageContract, ...] = ("float_nchw", "uint8_nhwc")
RGB = TensorSpec(name="image", shape=(1, 3, None, None), layout="NCHW", color="RGB")
"""What a network takes of which nothing else is known."""
WHITE = 255.0


def image_contract(name: str) -> ImageContract:
    """Return ``name`` if it is an image contract; :class:`UnknownNameError` lists those that exist."""
    if name not in IMAGE_CONTRACTS:
        raise UnknownNameError(
            f"unknown image contract {name!r}; expected one of: {', '.join(IMAGE_CONTRACTS)}"
        )
    return name


def tensor_contract(spec: TensorSpec, contract: ImageContract) -> TensorContract:
    """Return what a device passes for one tensor of a network, whose sizes are all known.

    A picture is, by ``float_nchw``, float32 [N, C, H, W] in the network's own value range, not clamped;
    by ``uint8_nhwc``, uint8 [N, H, W, C], as decoders and cameras deliver it, and a result is clamped and
    rounded. A picture whose channels are no colours, and any other tensor, is what the network takes.
    """
    spec = spec.stored()
    shape = tuple(-1 if side is None else side for side in spec.shape)
    if spec.layout is not None and spec.color and contract == "uint8_nhwc":
        batch, channels, height, width = shape
        return TensorContract(
            name=spec.name,
            shape=(batch, height, width, channels),
            dtype="uint8",
            layout="NHWC",
            value_range=(0.0, WHITE),
            color_space="sRGB",
        )
    return TensorContract(
        name=spec.name,
        shape=shape,
        dtype=cast(Dtype, spec.dtype),
        layout="NCHW" if spec.layout is not None else None,
        value_range=spec.value_range,
        color_space="sRGB" if spec.color else "",
    )


def tensor_contracts(
    contract: ImageContract, height: int, width: int
) -> tuple[TensorContract, TensorContract]:
    """Return what goes in and what comes out of a network that maps an RGB picture to one of its size."""
    taken = dataclasses.replace(RGB, shape=(1, 3, height, width))
    return (
        tensor_contract(taken, contract),
        tensor_contract(dataclasses.replace(taken, name="output"), contract),
    )


@dataclasses.dataclass(frozen=True)
class Result:
    """One result of a network: ``spec`` says what it is, ``tensor`` is its value."""

    spec: TensorSpec
    tensor: Tensor


class Deployable(nn.Module):
    """A network behind an image contract, with its results in a flat tuple.

    The network takes one tensor for each of ``specs``, in order. It returns a tensor, or lists, tuples and
    mappings of them. Where its first picture has colours and it returns a list or tuple of pictures of the
    same kind that grow, these are from coarse to fine and only the last is kept. With ``uint8_nhwc`` the
    conversion of pictures from and to bytes is part of the graph.
    """

    def __init__(
        self,
        model: nn.Module,
        contract: ImageContract = "float_nchw",
        specs: Sequence[TensorSpec] = (RGB,),
        outputs: Sequence[str] = (),
    ) -> None:
        """Wrap ``model``.

        Args:
            model: the network.
            contract: how pictures go in and out.
            specs: what the network takes.
            outputs: names of what it returns, of the last ones if it returns more; made from its own keys and
                positions where there are none.

        Raises:
            UnknownNameError: a contract that does not exist.
        """
        super().__init__()
        self.model = model
        self.shown_name = type(model).__name__  # what errors call it: users do not know this class
        self.contract: ImageContract = image_contract(contract)
        self.specs = tuple(specs)
        self.outputs = tuple(outputs)
        self._last = _Last()
        if contract == "uint8_nhwc":
            # A buffer, so that `.double()` also turns the conversions of the reference to double precision.
            self.register_buffer("white", torch.tensor(WHITE), persistent=False)

    def forward(self, image: Tensor, *others: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Run the network once, with tensors laid out as the contract says (see :func:`tensor_contract`)."""
        described = self.results(image, *others)
        self._last.specs = tuple(result.spec for result in described)
        results = tuple(self._given(result) for result in described)
        return results[0] if len(results) == 1 else results

    def results(self, image: Tensor, *others: Tensor) -> list[Result]:
        """Return what the network itself returns, as it returns it, with what each result is.

        Raises:
            BadInputError: another number of inputs, no tensor among the results, or other names than results.
        """
        tensors = (image, *others)
        if len(tensors) != len(self.specs):
            raise BadInputError(f"the network takes {len(self.specs)} inputs, got {len(tensors)}")
        taken = [self._taken(x, spec) for x, spec in zip(tensors, self.specs, strict=True)]
        leaves = _flat(self._finest(self.model(*taken), taken[0]), "")
        if not leaves:
            raise BadInputError("the network returned no tensor")
        if len(self.outputs) > len(leaves):
            raise BadInputError(
                f"the network returns {len(leaves)} tensors; {len(self.outputs)} names were given: "
                f"{', '.join(self.outputs)}"
            )
        if self.outputs:  # a pyramid ends with the answer
            leaves = leaves[-len(self.outputs) :]
        results = []
        for index, (name, tensor) in enumerate(leaves):
            named = self.outputs[index] if self.outputs else _plain(name, len(leaves))
            if named in {spec.name for spec in self.specs}:
                named = f"{named}_out"  # a file names its inputs and outputs in one list
            results.append(Result(self._described(named, tensor, taken[0]), tensor))
        return results

    @property
    def described(self) -> tuple[TensorSpec, ...]:
        """What the results of the last run were, as the network returned them; empty before the first."""
        return self._last.specs

    def example(self, height: int = 0, width: int = 0) -> tuple[Tensor, ...]:
        """Return inputs to trace with: noise, the same every time, which the lowering checks itself on.

        ``height`` and ``width`` are those of pictures whose size the specs leave open.
        """
        return tuple(self._noise(spec.at((height, width)), seed) for seed, spec in enumerate(self.specs))

    def _noise(self, spec: TensorSpec, seed: int) -> Tensor:
        contract = tensor_contract(spec, self.contract)
        generator = torch.Generator().manual_seed(seed)
        if spec.dtype == "complex64":
            return torch.view_as_complex(torch.randn(contract.shape, generator=generator))
        dtype: torch.dtype = getattr(torch, contract.dtype)
        low, high = contract.limits
        if contract.dtype == "float32":
            return torch.rand(contract.shape, generator=generator) * (high - low) + low
        if contract.dtype == "bool":
            return torch.rand(contract.shape, generator=generator) < 0.5
        noise = torch.rand(contract.shape, generator=generator) * (high - low) + low
        return noise.to(dtype)

    def _taken(self, x: Tensor, spec: TensorSpec) -> Tensor:
        if not (self.contract == "uint8_nhwc" and spec.layout is not None and spec.color):
            return x
        white = cast(Tensor, self.white)
        pixels = x.permute(0, 3, 1, 2).to(white.dtype) / white
        low, high = spec.value_range or (0.0, 1.0)
        return pixels if (low, high) == (0.0, 1.0) else pixels * (high - low) + low

    def _given(self, result: Result) -> Tensor:
        x, spec = result.tensor, result.spec
        if not (self.contract == "uint8_nhwc" and spec.layout is not None and spec.color):
            return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        low, high = spec.value_range or (0.0, 1.0)
        if (low, high) != (0.0, 1.0):
            x = (x - low) / (high - low)
        # round() is half to even in torch, ONNX and OpenVINO alike.
        pixels = (x * cast(Tensor, self.white)).clamp(0.0, WHITE).round()
        return pixels.to(torch.uint8).permute(0, 2, 3, 1)

    def _finest(self, result: Any, image: Tensor) -> Any:
        first = self.specs[0]
        if not isinstance(result, (list, tuple)) or not (first.layout and first.color) or self.outputs:
            return result
        if not result:
            raise BadInputError("the network returned an empty list instead of pictures")
        pictures = [
            x for x in result if isinstance(x, Tensor) and x.dim() == 4 and x.shape[:2] == image.shape[:2]
        ]
        sides = [tuple(x.shape[2:]) for x in pictures]
        coarse_to_fine = len(pictures) == len(result) and sides == sorted(sides)
        return result[-1] if coarse_to_fine else result

    def _described(self, name: str, result: Tensor, image: Tensor) -> TensorSpec:
        """What a result is: a picture if it is one of as many channels as the first input, or of as many as
        have colours, at a size that is a multiple of its."""
        if not 1 <= result.dim() <= MAX_RANK:
            has = f"{result.dim()} dimensions" if result.dim() else "a single number without dimensions"
            raise BadInputError(
                f"the network's result {name!r} is {has}; an artifact returns tensors of 1 to {MAX_RANK}. "
                "Reshape it in forward, such as result.reshape(1)"
            )
        dtype = {torch.float32: "float32", torch.uint8: "uint8", torch.int32: "int32", torch.int64: "int64"}
        dtype |= {torch.bool: "bool", torch.complex64: "float32"}
        named = dtype.get(result.dtype, "float32")
        shape = tuple(result.shape) + ((2,) if result.is_complex() else ())
        first = self.specs[0]
        same_kind = (
            first.layout is not None
            and result.dim() == 4
            and result.is_floating_point()
            and result.shape[0] == image.shape[0]
            and all(
                ours % theirs == 0 or theirs % ours == 0
                for ours, theirs in zip(result.shape[2:], image.shape[2:], strict=True)
            )
        )
        if not same_kind or (result.shape[1] != image.shape[1] and result.shape[1] not in (1, 3)):
            return TensorSpec(name=name, shape=shape, dtype=named, value_range=None)
        colors = {1: "grey", 3: "RGB", 4: "RGBA"}.get(result.shape[1], "") if first.color else ""
        return TensorSpec(
            name=name, shape=shape, dtype=named, value_range=first.value_range, layout="NCHW", color=colors
        )


class _Last:
    """What a run leaves behind; an object of its own, because tracing refuses changed attributes."""

    specs: tuple[TensorSpec, ...] = ()


def _flat(value: Any, name: str) -> list[tuple[str, Tensor]]:
    """Return the tensors in lists, tuples and mappings with their places: ``("masks.0", …)``."""
    if isinstance(value, Tensor):
        return [(name, value)]
    if isinstance(value, Mapping):
        return [leaf for key, part in value.items() for leaf in _flat(part, f"{name}.{key}".strip("."))]
    if isinstance(value, tuple) and (fields := getattr(value, "_fields", None)):
        return _flat(dict(zip(fields, value, strict=True)), name)
    if isinstance(value, (list, tuple)):
        return [leaf for i, part in enumerate(value) for leaf in _flat(part, f"{name}.{i}".strip("."))]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return _flat(fields, name)
    return []


def _plain(place: str, count: int) -> str:
    """Return a name that every runtime takes: ``output`` for the only result, else ``output_masks_0``."""
    letters = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in place)
    if not letters:
        return "output"
    return letters if not letters[0].isdigit() else "output" if count == 1 else f"output_{letters}"
