"""Finds sizes that a network takes, by running it on tensors that have shapes and no values.

A network may need multiples of 16, an odd size, or at least 32 pixels, and answers any other size with an
error about the shapes of two tensors somewhere inside. PyTorch's fake tensors find out in milliseconds what
it takes.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from ..runtime.errors import DynamicShapeError, LoweringError, LoweringFaultError, SizeError
from ..runtime.errors import UnsupportedOperatorError as Unsupported
from .spectral.trace import quiet_fake_tensors

MakeInputs = Callable[[int, int], tuple[Tensor, ...]]
"""Makes example inputs of a height and a width."""
Size = tuple[int, int]

_STEPS = (2, 4, 8, 16, 32, 64, 128, 256, 48, 56, 96, 112, 192, 224, 240, 336)
"""Multiples of these are tried for a first size that works."""
_NEAR = 16
"""Every size up to this far away is tried; further away, multiples of :data:`_FAR` only."""
_FAR = (16, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 224, 256, 384, 512)


def problem_with(module: nn.Module, inputs: tuple[Tensor, ...]) -> str:
    """Return the error that a network answers inputs with, in one line; empty if it takes them.

    Nothing is computed, except by a network that reads values of its constants in Python, which fake tensors
    do not have.
    """
    from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

    with torch.no_grad(), quiet_fake_tensors():
        try:
            with FakeTensorMode(allow_non_fake_inputs=True) as mode:
                module(*(mode.from_tensor(value) for value in inputs))
            return ""
        except DataDependentOutputException:
            return _problem_for_real(module, inputs)
        except Exception as error:  # the network's own code runs here
            return _first_line(error)


def nearest_sizes(
    module: nn.Module, make_inputs: MakeInputs, size: Size, *, trials: int = 150, seconds: float = 10.0
) -> list[Size]:
    """Return the sizes nearest to ``size`` that a network takes: a smaller and a larger one, if there are.

    Args:
        module: in eval mode.
        make_inputs: makes its inputs from a height and a width.
        size: height and width that it does not take.
        trials: most sizes to try.
        seconds: no further size is tried after this time.

    Returns:
        At most two (height, width), the nearest first; empty if none was found.
    """
    search = _Search(module, make_inputs, trials, time.monotonic() + seconds)
    anchor = next((pair for pair in _anchors(size) if search.works(pair)), None)
    if anchor is None:
        return []
    pairs: list[Size] = []
    for sign in (-1, 1):
        height = search.nearest(size[0], sign, lambda value: (value, anchor[1]))
        # The other side may have to be equal to the first.
        row = height if height is not None and search.works((height, anchor[1])) else anchor[0]
        width = search.nearest(size[1], sign, functools.partial(_of, row))
        pair = (height or anchor[0], width or anchor[1])
        square = (pair[0], pair[0])
        pairs += [next((each for each in (pair, square) if each != size and search.works(each)), anchor)]
    return sorted(set(pairs), key=lambda pair: (_distance(pair, size), pair))


@contextlib.contextmanager
def sizes_in_errors(module: nn.Module, make_inputs: MakeInputs, size: Size) -> Iterator[None]:
    """Turn an error of the block that is due to the size of the inputs into one that names sizes that work.

    Raises:
        SizeError: the network does not take ``size``; lists the nearest that it does.
    """
    try:
        yield
    except (Unsupported, DynamicShapeError, LoweringFaultError):
        raise
    except LoweringError as error:
        problem = problem_with(module, make_inputs(*size))
        nearest = nearest_sizes(module, make_inputs, size) if problem else []
        if not nearest:
            raise
        words = " and ".join(f"{height}x{width}" for height, width in nearest)
        raise SizeError(
            f"the network does not take {size[0]}x{size[1]}: the nearest sizes that it takes are {words}. In "
            f"PyTorch it fails with {problem}"
        ) from error


class _Search:
    def __init__(self, module: nn.Module, make_inputs: MakeInputs, trials: int, end: float) -> None:
        self.module = module
        self.make_inputs = make_inputs
        self.left = trials
        self.end = end
        self.known: dict[Size, bool] = {}

    def works(self, pair: Size) -> bool:
        """Whether the network takes a size; no where there is no time left to find out."""
        if pair not in self.known:
            if self.left <= 0 or time.monotonic() > self.end:
                return False
            self.left -= 1
            self.known[pair] = not problem_with(self.module, self.make_inputs(*pair))
        return self.known[pair]

    def nearest(self, value: int, sign: int, pair: Callable[[int], Size]) -> int | None:
        """Return the nearest height (or width) on one side of ``value``, or itself, that works."""
        near = [value + sign * step for step in range(_NEAR + 1)]
        far = {value // step * step + (step if sign > 0 else 0) for step in _FAR}
        further = sorted((other for other in far if other > 0), key=lambda other: abs(other - value))
        candidates = [other for other in dict.fromkeys((*near, *further)) if other > 0]
        return next((other for other in candidates if self.works(pair(other))), None)


def _anchors(size: Size) -> Iterator[Size]:
    """Yield sizes of which one is likely to work: multiples of common steps, then squares."""
    for step in _STEPS:
        down = tuple(max(step, side // step * step) for side in size)
        up = tuple(-(-side // step) * step for side in size)
        yield down[0], down[1]
        yield up[0], up[1]
    for side in sorted(_STEPS, key=lambda step: abs(step - max(size))):
        yield side, side


def _of(height: int, width: int) -> Size:
    return height, width


def _distance(pair: Size, size: Size) -> int:
    return abs(pair[0] - size[0]) + abs(pair[1] - size[1])


def _problem_for_real(module: nn.Module, inputs: tuple[Tensor, ...]) -> str:
    try:
        module(*inputs)
    except Exception as error:
        return _first_line(error)
    return ""


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200] if lines else 'no message'}"
