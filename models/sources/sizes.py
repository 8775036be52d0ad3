"""Which image sizes a network takes, as a value that callers can check against and pad with."""

from __future__ import annotations

from dataclasses import dataclass

from ...runtime.errors import SizeError


@dataclass(frozen=True)
class SizeRequirements:
    """Heights and widths a network accepts, in pixels.

    Both sides must be at least ``minimum`` and a multiple of ``multiple_of``; with ``square`` they must also
    be equal. ``minimum`` is itself a multiple of ``multiple_of``, so it is always a valid size.
    """

    minimum: int
    multiple_of: int
    square: bool = False

    def __post_init__(self) -> None:
        """Refuse requirements that contradict themselves (``ValueError``)."""
        if self.multiple_of < 1 or self.minimum < self.multiple_of or self.minimum % self.multiple_of:
            raise ValueError(f"minimum {self.minimum} is not a positive multiple of {self.multiple_of}")

    def accepts(self, height: int, width: int) -> bool:
        """Whether an image of ``height`` x ``width`` pixels can go in as it is."""
        return self.pad_to(height, width) == (height, width)

    def pad_to(self, height: int, width: int) -> tuple[int, int]:
        """Return the smallest valid (height, width) that holds an image of ``height`` x ``width`` pixels."""
        if self.square:
            height = width = max(height, width)
        return self._up(height), self._up(width)

    def check(self, height: int, width: int) -> None:
        """Raise :class:`SizeError`, naming the nearest valid sizes, unless the network takes this size."""
        if self.accepts(height, width):
            return
        larger = self.pad_to(height, width)
        smaller = (self._down(height), self._down(width))
        if self.square:
            smaller = (min(smaller), min(smaller))
        nearest = sorted({smaller, larger})
        raise SizeError(
            f"size {height}x{width} (height x width) cannot go through this network: {self}. "
            f"Nearest valid sizes: {', '.join(f'{h}x{w}' for h, w in nearest)}."
        )

    def __str__(self) -> str:
        """Say the rule in words."""
        rule = f"each side must be a multiple of {self.multiple_of} and at least {self.minimum}"
        return rule + (", and both must be equal" if self.square else "")

    def _up(self, side: int) -> int:
        return max(self.minimum, -(-side // self.multiple_of) * self.multiple_of)

    def _down(self, side: int) -> int:
        return max(self.minimum, side // self.multiple_of * self.multiple_of)
