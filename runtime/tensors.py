"""What a tensor at the end of a network is: name, shape, type, and how a picture lies in it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal, cast

from . import fields as read
from . import processor
from .errors import BadInputError, SizeError
from .fields import wrong

Dtype = Literal["float32", "uint8", "int32", "int64", "bool"]
Layout = Literal["NCHW", "NHWC"]

DTYPES: tuple[Dtype, ...] = ("float32", "uint8", "int32", "int64", "bool")
_BYTES: dict[Dtype, int] = {"float32": 4, "uint8": 1, "int32": 4, "int64": 8, "bool": 1}
LAYOUTS: tuple[Layout, ...] = ("NCHW", "NHWC")
MAX_RANK = 8
COPIES = 4
"""Maps of the size of inputs and outputs that any network holds at once."""
MAX_PIXEL = 65536.0
"""Largest magnitude of a picture's value range: 16-bit samples, and one more."""
MAX_SIDE = 2**24
MAX_ELEMENTS = 2**31


@dataclasses.dataclass(frozen=True, kw_only=True)
class TensorContract:
    """How one input or output of a model is laid out.

    ``shape`` is the full shape; of a picture with the batch first, in the order of ``layout``. A tensor that
    is no picture has the layout ``None`` and no colour space. ``value_range`` holds the lowest and the
    highest value expected: what black and white are, so ``(0.0, 1.0)`` for a float network and ``(0.0,
    255.0)`` for ``uint8``; ``None`` where nothing is known. The colours of a picture follow from its number
    of channels (1 grey, 3 RGB, 4 RGB and alpha); without a colour space its channels are no colours.
    """

    name: str
    shape: tuple[int, ...]
    dtype: Dtype
    layout: Layout | None = None
    value_range: tuple[float, float] | None = None
    color_space: str = ""

    @property
    def is_picture(self) -> bool:
        """Whether a layout says where height, width and channels are."""
        return self.layout is not None

    @property
    def has_colors(self) -> bool:
        """Whether photos can be put in or taken out: pictures of grey, RGB or RGB and alpha."""
        return self.is_picture and bool(self.color_space) and self.channels in (1, 3, 4)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels; :class:`BadInputError` for a tensor that is no picture."""
        if self.layout is None:
            raise BadInputError(
                f"{self.name} {list(self.shape)} is no picture, so it has no height and width"
            )
        return (self.shape[2], self.shape[3]) if self.layout == "NCHW" else (self.shape[1], self.shape[2])

    @property
    def extent(self) -> tuple[int, ...]:
        """Height and width of a picture; the whole shape of any other tensor."""
        return self.size if self.is_picture else self.shape

    @property
    def channels(self) -> int:
        """Number of channels of a picture."""
        return self.shape[1] if self.layout == "NCHW" else self.shape[3]

    @property
    def limits(self) -> tuple[float, float]:
        """The value range, and 0 to 1 where none is known."""
        return self.value_range or (0.0, 1.0)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        data = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        limits = None if self.value_range is None else [float(v) for v in self.value_range]
        return {**data, "shape": list(self.shape), "value_range": limits}

    @classmethod
    def from_dict(cls, data: Any, where: str = "tensor") -> TensorContract:
        """Read what :meth:`to_dict` wrote; ``where`` names the place in error messages.

        Raises:
            ArtifactError: a key is missing, unknown, of the wrong type or out of bounds.
        """
        keys = read.record(data, where, [field.name for field in dataclasses.fields(cls)])
        shape = read.items(keys["shape"], f"{where}.shape")
        sizes = all(type(n) is int and 1 <= n <= MAX_SIDE for n in shape)
        if not 1 <= len(shape) <= MAX_RANK or not sizes or math.prod(shape) > MAX_ELEMENTS:
            raise wrong(
                f"{where}.shape", f"expected 1 to {MAX_RANK} sizes from 1 to {MAX_SIDE}, got {shape!r:.80}"
            )
        layout = read.optional(_layout, keys["layout"], f"{where}.layout")
        if layout is not None and (len(shape) != 4 or max(shape) > 65536):
            raise wrong(f"{where}.shape", f"expected the four sizes of a picture, got {shape!r:.80}")
        color_space = read.text(keys["color_space"], f"{where}.color_space", empty=True)
        if color_space and layout is None:
            raise wrong(f"{where}.color_space", "only a picture has a colour space")
        limits = read.optional(_limits, keys["value_range"], f"{where}.value_range")
        if color_space and limits is not None and max(map(abs, limits)) > MAX_PIXEL:
            raise wrong(f"{where}.value_range", f"{limits} is not that of a picture: beyond +-{MAX_PIXEL}")
        return cls(
            name=read.text(keys["name"], f"{where}.name"),
            shape=tuple(shape),
            dtype=cast(Dtype, read.choice(keys["dtype"], DTYPES, f"{where}.dtype")),
            layout=layout,
            value_range=limits,
            color_space=color_space,
        )


def several(value: Any, where: str, most: int = 64) -> tuple[TensorContract, ...]:
    """Read a list of at least one contract, each of another name.

    Raises:
        ArtifactError: another value.
    """
    entries = read.items(value, where)
    if not 1 <= len(entries) <= most:
        raise wrong(where, f"expected 1 to {most} tensors, got {len(entries)}")
    contracts = tuple(TensorContract.from_dict(entry, f"{where}[{i}]") for i, entry in enumerate(entries))
    if len({contract.name for contract in contracts}) != len(contracts):
        raise wrong(where, "two tensors have the same name")
    return contracts


def only(contracts: Sequence[TensorContract], kind: str, place: str) -> TensorContract:
    """Return the single one of ``contracts``; ``kind`` (input, output) and ``place`` are for the error.

    Raises:
        BadInputError: there are several.
    """
    if len(contracts) != 1:
        names = ", ".join(contract.name for contract in contracts)
        raise BadInputError(f"{place}: has {len(contracts)} {kind}s ({names}), where one is expected")
    return contracts[0]


def check_memory(contracts: Sequence[TensorContract], place: str) -> None:
    """Check that this machine can hold tensors of these sizes, before memory is taken for them.

    A network holds at least :data:`COPIES` maps as large as its inputs and outputs; most hold many more.

    Raises:
        SizeError: it cannot; the message has both figures.
    """
    free = processor.available_memory()
    needed = COPIES * sum(math.prod(c.shape) * _BYTES[c.dtype] for c in contracts)
    if free is not None and needed > free:
        raise SizeError(
            f"{place}: {described(contracts)} needs at least {needed / 1e9:.3g} GB of memory, and "
            f"{free / 1e9:.3g} GB are free here; use a smaller size"
        )


def _layout(value: Any, where: str) -> Layout:
    return cast(Layout, read.choice(value, LAYOUTS, where))


def _limits(value: Any, where: str) -> tuple[float, float]:
    values = read.items(value, where)
    numbers = all(type(v) in (int, float) and abs(v) < 1e6 for v in values)
    if len(values) != 2 or not numbers or not values[0] < values[1]:
        raise wrong(where, f"expected [low, high], got {values!r:.80}")
    if values[1] - values[0] < 1e-6 * max(1.0, *map(abs, values)):
        raise wrong(where, f"{values!r:.80} is too narrow for float32")
    return float(values[0]), float(values[1])


def described(contracts: Sequence[TensorContract]) -> str:
    """Return what tensors are, in words: ``image float32[1, 3, 64, 64], sigma float32[1]``."""
    return ", ".join(f"{c.name} {c.dtype}{list(c.shape)}" for c in contracts)
