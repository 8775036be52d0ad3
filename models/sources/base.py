"""A network source as a value: a network, and all that the toolkit has to know of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...runtime.errors import SizeError, SourceError
from ...runtime.inputs import Sample
from ...runtime.photo import Array
from .sizes import SizeRequirements

if TYPE_CHECKING:
    from torch import nn

DTYPES = ("float32", "uint8", "int32", "int64", "bool", "complex64")
MAX_RANK = 8
COLORS = {"RGB": 3, "grey": 1, "RGBA": 4}
"""Colours a picture can have, and the channels of each."""


@dataclass(frozen=True)
class TensorSpec:
    """One tensor that goes into a network.

    Attributes:
        name: a valid identifier; artifacts call the input by it.
        shape: rank 1 to 8. Only the last two sides can be ``None``: height and width, which ``--size`` sets.
        dtype: one of :data:`DTYPES`. Networks in float16 or bfloat16 are fed float32. An artifact takes
            ``complex64`` as float32 with a last side of 2, real part first; see :meth:`stored`.
        value_range: lowest and highest value that is meant to go in; ``None`` where no range is known.
        layout: ``NCHW`` for a picture, which a photo can be put into; ``None`` for any other tensor.
        color: of a picture: ``RGB``, ``grey``, ``RGBA``, or empty where its channels are no colours (raw
            sensor data, spectra).
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str = "float32"
    value_range: tuple[float, float] | None = (0.0, 1.0)
    layout: str | None = None
    color: str = ""

    def __post_init__(self) -> None:
        """Raise :class:`SourceError` where the description contradicts itself."""
        if problem := self._problem():
            raise SourceError(f"input {self.name!r}: {problem}")

    @property
    def is_picture(self) -> bool:
        """Whether a photo can be put in."""
        return self.layout is not None

    @property
    def channels(self) -> int | None:
        """Channels of a picture; ``None`` for any other tensor."""
        return self.shape[1] if self.is_picture else None

    def at(self, size: tuple[int, int] | None) -> TensorSpec:
        """Return the same tensor with height and width filled in, where they were left open.

        Args:
            size: height and width in pixels; ``None`` if none was given.

        Raises:
            SizeError: a side is open and no size was given.
        """
        if None not in self.shape:
            return self
        if size is None:
            raise SizeError(f"input {self.name!r} is {self.words}: give its height and width with --size")
        open_sides = zip(self.shape[-2:], size, strict=True)  # two sides at least, since one is open
        filled = (given if side is None else side for side, given in open_sides)
        return dataclasses.replace(self, shape=(*self.shape[:-2], *filled))

    def stored(self) -> TensorSpec:
        """Return the tensor as an artifact takes it: complex numbers as float32 with a last side of 2."""
        if self.dtype != "complex64":
            return self
        return dataclasses.replace(self, shape=(*self.shape, 2), dtype="float32")

    @property
    def words(self) -> str:
        """The shape as users write it, ``1x3xHxW``."""
        count = len(self.shape)
        letters = {count - 2: "H", count - 1: "W"}
        return "x".join(letters[n] if side is None else str(side) for n, side in enumerate(self.shape))

    def _problem(self) -> str | None:
        limit = MAX_RANK - (self.dtype == "complex64")
        if not self.name.isidentifier():
            return "the name must be a letter or underscore, then letters, digits and underscores"
        if not 1 <= len(self.shape) <= limit:
            return f"{len(self.shape)} sides; expected 1 to {limit}"
        if any(side is not None and (type(side) is not int or side < 1) for side in self.shape):
            return f"shape {self.shape}; each side must be a whole number from 1, or None"
        if None in self.shape[:-2] or (None in self.shape and len(self.shape) < 2):
            return f"shape {self.shape}; only the last two sides, height and width, can be None"
        if self.dtype not in DTYPES:
            return f"dtype {self.dtype!r}; expected one of {', '.join(DTYPES)}"
        if self.value_range is not None:
            low, high = self.value_range
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                return f"value range {low:g}..{high:g}; expected two finite numbers, the lower one first"
        if self.layout not in (None, "NCHW"):
            return f"layout {self.layout!r}; expected 'NCHW' for a picture, None for any other tensor"
        if self.is_picture and len(self.shape) != 4:
            return f"shape {self.shape}; a picture has four sides: batch, channels, height, width"
        if self.color and not self.is_picture:
            return f"colour {self.color!r}, but no picture: set layout='NCHW'"
        if self.color and COLORS.get(self.color) != self.shape[1]:
            kinds = ", ".join(f"{name} ({count})" for name, count in COLORS.items())
            return f"{self.shape[1]} channels as {self.color!r}; expected one of {kinds}, or no colour"
        return None


Samples = Callable[[Sequence[TensorSpec]], Sequence[Sample]]
"""Returns samples for inputs whose sides are all filled in; see :meth:`TensorSpec.at`."""
Metric = Callable[[Array, Array], Mapping[str, float]]
"""Compares a result with the reference, both as float64 or as the network returns them; name to figure."""


@dataclass(frozen=True, eq=False)
class NetworkSource:
    """A network and what it says of itself.

    Attributes:
        name: what artifacts are called.
        spec: what the user typed to get it: ``tiny``, ``net.py:Denoiser``. For people; nothing opens it.
        load: returns the network, float32, on the CPU, in eval mode. It may return the same module each
            time, so a caller that changes it copies it first.
        inputs: in the order of the parameters of ``forward``.
        outputs: names of the results, in order; empty where nobody named them. Where the network returns
            more tensors than there are names, the last ones are meant: a pyramid ends with the answer.
        sizes: heights and widths that the network accepts; ``None`` where nothing is known.
        samples: real inputs to verify and calibrate with. ``None``: photos, where all inputs are pictures of
            1, 3 or 4 colours; else noise from a fixed seed in the range, and int8 is refused.
        defocus: radii in pixels by which calibration tiles are put out of focus in turn.
        photo: the photo that ``deploy`` shows before and after; ``None``: a sample photo.
        metric: a measure of the network's own.
        scale: height and width of a picture that comes out, in those of the one that goes in; ``None`` where
            only tracing tells.
        trained: whether anything was learned; ``None`` where nobody says.
        note: where the weights come from, in words.
        assumed: nobody said what the inputs are, so one picture was assumed.
        notes: what users should know of how the network was loaded, one sentence each.
    """

    name: str
    spec: str
    load: Callable[[], nn.Module]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...] = ()
    sizes: SizeRequirements | None = None
    samples: Samples | None = None
    defocus: tuple[float, ...] = (0.0,)
    photo: Path | None = None
    metric: Metric | None = None
    scale: int | None = None
    trained: bool | None = None
    note: str = ""
    notes: tuple[str, ...] = ()
    assumed: bool = False

    def __post_init__(self) -> None:
        """Raise :class:`SourceError` where names are missing, wrong or used twice."""
        names = [spec.name for spec in self.inputs]
        problem = ""
        if not self.inputs:
            problem = "it has no inputs"
        elif not callable(self.load):
            problem = "load must be a function that returns the network"
        elif twice := next((name for name in names if names.count(name) > 1), None):
            problem = f"two inputs are called {twice!r}"
        elif twice := next((name for name in self.outputs if [*names, *self.outputs].count(name) > 1), None):
            problem = f"two of its inputs and outputs are called {twice!r}"
        elif wrong := next((name for name in self.outputs if not name.isidentifier()), None):
            problem = f"output {wrong!r} is not a name (letters, digits, underscores)"
        elif not self.defocus or not all(math.isfinite(radius) and radius >= 0 for radius in self.defocus):
            problem = f"defocus {self.defocus}: expected radii in pixels, at least one, none below 0"
        elif self.scale is not None and self.scale < 1:
            problem = f"scale {self.scale}: expected 1 or more"
        if problem:
            raise SourceError(f"network {self.name!r}: {problem}")

    @property
    def takes_photos(self) -> bool:
        """Whether its only input is a picture in colours, so that any photo shows what it does."""
        return len(self.inputs) == 1 and bool(self.inputs[0].color)

    @property
    def leaves_size_open(self) -> bool:
        """Whether height and width of an input are for the user to choose."""
        return any(None in spec.shape for spec in self.inputs)

    def extent(self, size: tuple[int, int] | None) -> tuple[int, ...]:
        """Return height and width of the first input if that is a picture, else its whole shape; raises as
        :meth:`at` does."""
        first = self.at(size)[0].stored()
        sides = tuple(side for side in first.shape if side is not None)
        return sides[-2:] if first.is_picture else sides

    def at(self, size: tuple[int, int] | None) -> tuple[TensorSpec, ...]:
        """Return the inputs with height and width filled in.

        Raises:
            SizeError: a size is needed and none was given, or the network does not accept this one.
        """
        if self.sizes is not None and size is not None and self.leaves_size_open:
            self.sizes.check(*size)
        return tuple(spec.at(size) for spec in self.inputs)
