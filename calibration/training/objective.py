"""Training so that an int8 artifact gives what the floats give, on photographs and on patterns.

A network may enlarge the rounding of 8 bits by 25 dB on gratings near the Nyquist frequency, where photos
give it no reason not to. No choice of ranges can mend that. So a step takes one of two kinds of picture:

- a pair of photographs: the loss of restoring it, with or without rounding, and the distance from what the
  network made of it before, which holds its quality;
- a pattern, which is in focus: what rounding changes, and the distance from the pattern itself.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...models.patterns import pictures_in_focus, uniform
from ...models.training.losses import multi_scale_loss
from ...models.training.objective import Forward
from .layers import RoundedLayers

PATTERNS = 0.55
"""How often a step takes patterns."""
ROUNDED = 0.6
"""How often a pair of photographs goes through the rounding."""
PHOTO_FLOOR = 4e-6
"""Mean square below which the distance from the former result counts less and less: 54 dB."""
ROUNDING_FLOOR = 1e-5
"""The same for what rounding changes on a pattern: 50 dB."""
PATTERN_FLOOR = 1e-4
"""The same for the distance from the pattern: 40 dB."""
IDENTITY = 0.4
"""Weight of the distance from the pattern beside what rounding changes."""


class ThroughRounding:
    """The loss of a step, see the module. Kept from the start: the former network, and pictures to follow the
    ranges with."""

    name = "through rounding"

    def __init__(
        self,
        layers: RoundedLayers,
        former: nn.Module,
        pictures: list[Tensor],
        *,
        share: float = PATTERNS,
        identity: float = IDENTITY,
    ) -> None:
        """Train what ``layers`` belong to.

        Args:
            layers: of the network, with the steps of its calibration table.
            former: the network that training begins with; it does not change.
            pictures: [1, 3, H, W] each, defocused photographs.
            share: how often a step takes patterns, 0 to 1.
            identity: weight of the distance from the pattern.
        """
        self.layers, self.former, self.pictures = layers, former, pictures
        self.share, self.identity = share, identity
        self.network = former

    def begin(self, network: nn.Module) -> None:
        """Take the ranges of the weights as they are."""
        self.network = network
        self.layers.follow(self.former, network, self.pictures)

    def loss(self, forward: Forward, blurred: Tensor, target: Tensor, seed: int) -> Tensor:
        """Return the loss of a step."""
        generator = torch.Generator().manual_seed(seed)
        if uniform(generator) < self.share:
            return self._pattern(forward, pictures_in_focus(blurred.shape, generator).to(blurred))
        with torch.no_grad():
            before = self.former(blurred)[-1]
        if uniform(generator) < ROUNDED:
            with self.layers.rounded(self.network):
                results = forward(blurred)
        else:
            results = forward(blurred)
        moved = _mean_square(results[-1] - before)
        restored = multi_scale_loss(results, target, "relative")
        return 0.5 * restored + 0.5 * torch.log1p(moved / PHOTO_FLOOR).mean()

    def _pattern(self, forward: Forward, x: Tensor) -> Tensor:
        floats = forward(x)[-1]
        with self.layers.rounded(self.network):
            narrow = forward(x)[-1]
        changed = _mean_square(narrow.clamp(0, 1) - floats.clamp(0, 1))
        away = _mean_square(floats - x)
        loss = torch.log1p(changed / ROUNDING_FLOOR) + self.identity * torch.log1p(away / PATTERN_FLOOR)
        return loss.mean()


def _mean_square(difference: Tensor) -> Tensor:
    return difference.float().square().mean((1, 2, 3))
